//! The generated gRPC code that is checked in is what the proto files yield today.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const DESCRIPTORS: &str = "ext_authz.bin";

fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn wire() -> PathBuf {
    manifest_dir().join("src/ext_authz/wire")
}

/// Writes the Rust code and the descriptor set (for server reflection) into `out`.
fn generate(out: &Path) {
    let proto = manifest_dir().join("proto");
    let files = ["envoy/service/auth/v3/external_auth.proto"];
    let descriptors = protox::Compiler::new([&proto])
        .expect("the proto directory is readable")
        .include_imports(true)
        .include_source_info(false)
        .open_files(files)
        .expect("the proto files compile")
        .encode_file_descriptor_set();
    fs::write(out.join(DESCRIPTORS), descriptors).unwrap();

    // The code carries the comments, so it is made from a set with source information.
    let with_comments = protox::compile(files, [&proto]).expect("the proto files compile");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(with_comments)
        .expect("code generation");
}

/// The generated files of a directory by name.
fn generated(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names
        .filter(|name| name != "mod.rs")
        .map(|name| (name.clone(), fs::read(directory.join(&name)).unwrap()))
        .collect()
}

#[test]
fn the_checked_in_code_is_current() {
    let scratch = tempfile::tempdir().unwrap();
    generate(scratch.path());
    let (fresh, kept) = (generated(scratch.path()), generated(&wire()));
    assert!(
        fresh == kept,
        "src/ext_authz/wire is stale ({:?}, {:?}); renew it: cargo test -p dataplane --test wire_is_current -- --ignored",
        fresh.keys(),
        kept.keys()
    );
}

#[test]
#[ignore = "writes src/ext_authz/wire; run it after an edit of the proto files"]
fn regenerate() {
    generate(&wire());
}
