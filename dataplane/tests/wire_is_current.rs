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

/// One service: its proto file, the directory of the code, and the name of its descriptor set (for server reflection).
struct Wire {
    proto: &'static str,
    code: &'static str,
    descriptors: &'static str,
}

const WIRES: [Wire; 2] = [
    Wire {
        proto: "envoy/service/auth/v3/external_auth.proto",
        code: "src/ext_authz/wire",
        descriptors: "ext_authz.bin",
    },
    Wire {
        proto: "portcullis/registry/v1/registry.proto",
        code: "src/registry/wire",
        descriptors: "registry.bin",
    },
];

fn manifest_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the Rust code and the descriptor set of a service into `out`.
fn generate(wire: &Wire, out: &Path) {
    let proto = manifest_dir().join("proto");
    let descriptors = protox::Compiler::new([&proto])
        .expect("the proto directory is readable")
        .include_imports(true)
        .include_source_info(false)
        .open_files([wire.proto])
        .expect("the proto files compile")
        .encode_file_descriptor_set();
    fs::write(out.join(wire.descriptors), descriptors).unwrap();

    // The code carries the comments, so it is made from a set with source information.
    let with_comments = protox::compile([wire.proto], [&proto]).expect("the proto files compile");
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
    for wire in &WIRES {
        let scratch = tempfile::tempdir().unwrap();
        generate(wire, scratch.path());
        let kept = generated(&manifest_dir().join(wire.code));
        let fresh = generated(scratch.path());
        assert!(
            fresh == kept,
            "{} is stale ({:?}, {:?}); renew it: cargo test -p dataplane --test wire_is_current -- --ignored",
            wire.code,
            fresh.keys(),
            kept.keys()
        );
    }
}

#[test]
#[ignore = "writes the generated code; run it after an edit of the proto files"]
fn regenerate() {
    for wire in &WIRES {
        generate(wire, &manifest_dir().join(wire.code));
    }
}
