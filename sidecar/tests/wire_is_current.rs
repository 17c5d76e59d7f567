//! The generated messages that are checked in are what the proto files yield today.

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

fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn wire() -> PathBuf {
    manifest_dir().join("src/dapr/wire")
}

/// Writes the Rust code into `out`: messages only, the one method is served by hand.
fn generate(out: &Path) {
    let proto = manifest_dir().join("proto");
    let files = ["dapr/proto/runtime/v1/dapr.proto"];
    let messages = protox::compile(files, [&proto]).expect("the proto files compile");
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(messages)
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
        "src/dapr/wire is stale ({:?}, {:?}); renew it: cargo test -p sidecar --test wire_is_current -- --ignored",
        fresh.keys(),
        kept.keys()
    );
}

#[test]
#[ignore = "writes src/dapr/wire; run it after an edit of the proto files"]
fn regenerate() {
    generate(&wire());
}
