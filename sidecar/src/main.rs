//! The slim `portcullis-sidecar` binary.
fn main() {}
