//! The slim `portcullis-gateway` binary.
fn main() {}
