//! What the enrolment key signs: the request and the join token, bound together.

use crate::bundle::sha256;

/// The message under an enrolment's proof: `"portcullis-enrol-v1\0" ‖ SHA-256(csr) ‖ SHA-256(join token)`. With no
/// token the text is empty.
pub fn enrol_message(csr: &[u8], join_token: &str) -> Vec<u8> {
    let mut message = b"portcullis-enrol-v1\0".to_vec();
    message.extend(sha256(csr));
    message.extend(sha256(join_token.as_bytes()));
    message
}
