//! The generated gRPC code that is checked in is what the proto file yields today.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

const GENERATED: [&str; 2] = ["portcullis.ca.v1.rs", "portcullis.ca.v1.bin"];

fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the Rust code and the descriptor set (for server reflection) into `out`.
fn generate(out: &Path) {
    let proto = manifest_dir().join("proto");
    let files = ["portcullis/ca/v1/ca.proto"];
    let descriptors = protox::Compiler::new([&proto])
        .expect("the proto directory is readable")
        .include_imports(true)
        .include_source_info(false)
        .open_files(files)
        .expect("the proto file compiles")
        .encode_file_descriptor_set();
    fs::write(out.join("portcullis.ca.v1.bin"), descriptors).unwrap();

    // The code carries the comments, so it is made from a set with source information.
    let with_comments = protox::compile(files, [&proto]).expect("the proto file compiles");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(with_comments)
        .expect("code generation");
}

#[test]
fn the_checked_in_code_is_current() {
    let scratch = tempfile::tempdir().unwrap();
    generate(scratch.path());
    for name in GENERATED {
        let fresh = fs::read(scratch.path().join(name)).unwrap();
        let kept = fs::read(manifest_dir().join("src/wire").join(name)).unwrap_or_default();
        assert!(
            fresh == kept,
            "src/wire/{name} is stale; renew it: \
             cargo test -p identity --features wire --test wire_is_current -- --ignored"
        );
    }
}

#[test]
#[ignore = "writes src/wire; run it after an edit of the proto file"]
fn regenerate() {
    generate(&manifest_dir().join("src/wire"));
}
