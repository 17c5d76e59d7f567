//! The slim `portcullis-ca` binary.
fn main() {}
