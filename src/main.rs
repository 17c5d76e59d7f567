//! `portcullis`: the one command that people type.
fn main() {}
