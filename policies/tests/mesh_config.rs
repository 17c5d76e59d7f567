//! MeshConfig: what it puts in force, and what it may not say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use policies::load::{Loaded, load};
use policies::mesh::{Mesh, PathNormalization};
use policies::source::SourceFile;

fn read(text: &str) -> Loaded {
    load(&[SourceFile::new("mesh.yaml", text)], &Mesh::default())
}

fn findings(text: &str) -> Vec<String> {
    let loaded = read(text);
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

fn mesh_config(spec: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: MeshConfig\nmetadata: {{name: mesh}}\nspec:\n{spec}"
    )
}

#[test]
fn without_one_the_process_decides() {
    let loaded = read("");
    assert_eq!(loaded.mesh, Mesh::default());
}

#[test]
fn what_is_in_force() {
    let loaded = read(&mesh_config(
        "  trustDomain: cluster.local\n  trustDomainAliases: [old.example, older.example]\n  rootNamespace: policies\n  \
         pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n",
    ));
    assert_eq!(loaded.diagnostics, []);
    let expected = Mesh {
        trust_domain_aliases: vec!["old.example".to_owned(), "older.example".to_owned()],
        root_namespace: "policies".to_owned(),
        path_normalization: PathNormalization::DecodeAndMergeSlashes,
        ..Mesh::default()
    };
    assert_eq!(loaded.mesh, expected);
    assert_eq!(loaded.documents.mesh_configs.len(), 1);
}

#[test]
fn it_stands_once_and_cannot_move_the_mesh() {
    let two = format!(
        "{}---\n{}",
        mesh_config("  {}\n"),
        mesh_config("  {}\n").replace("name: mesh", "name: second")
    );
    assert_eq!(
        findings(&two),
        [
            "mesh.yaml:7:1: error[PC0130]: a second MeshConfig `second`, the first stands at mesh.yaml:1:1 \
          (help: write what holds for the whole mesh into one document)"
        ]
    );
    assert_eq!(
        findings(&mesh_config("  trustDomain: old.example\n")),
        [
            "mesh.yaml:5:16: error[PC0131]: the trust domain is `cluster.local`, as the process's `identity.trustDomain` says, \
          and not `old.example` (help: write `cluster.local`, or an older name into `trustDomainAliases`)"
        ]
    );
}

#[test]
fn wrong_values() {
    for (spec, expected) in [
        (
            "  trustDomain: spiffe://cluster.local\n",
            "is not a trust domain",
        ),
        ("  trustDomainAliases: [UPPER]\n", "is not a trust domain"),
        ("  rootNamespace: istio.system\n", "is not a namespace"),
        (
            "  pathNormalization: {normalization: ALL}\n",
            "is not one of DEFAULT, NONE",
        ),
        ("  trustDomains: a\n", "did you mean `trustDomain`?"),
    ] {
        let findings = findings(&mesh_config(spec));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(expected), "{findings:?}");
    }
}

#[test]
fn it_belongs_to_no_namespace() {
    let text = mesh_config("  {}\n").replace("name: mesh", "name: mesh, namespace: istio-system");
    assert_eq!(
        findings(&text),
        [
            "mesh.yaml:3:35: error[PC0111]: a MeshConfig belongs to no namespace, and none may be given (help: remove `namespace`)"
        ]
    );
}
