//! The JSON Schema of every kind, held against the loader by an independent validator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use policies::diagnostic::Diagnostic;
use policies::document::Kind;
use policies::load::load;
use policies::mesh::Mesh;
use policies::schema::{Docs, all, of};
use policies::source::SourceFile;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every YAML file below a folder of the repository, in the order of the names.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The documents of a YAML text as another YAML reader than ours sees them.
fn values(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every document of the repository that is meant to be good, one by one.
fn corpus() -> Vec<Value> {
    let folders = [
        "policies/examples",
        "deploy/demo/policies",
        "deploy/demo/entries",
        "tests/corpus/seeds",
        "tests/corpus/services",
    ];
    let files = folders.iter().flat_map(|folder| files(folder));
    files
        .flat_map(|path| values(&std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn bundle() -> Validator {
    jsonschema::draft7::new(&all(&Docs::default())).unwrap()
}

fn problems(validator: &Validator, document: &Value) -> Vec<String> {
    let errors = validator.iter_errors(document);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// JSON is YAML, so that the loader reads what the validator sees.
fn findings(document: &Value) -> Vec<Diagnostic> {
    let mesh = Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    };
    let file = SourceFile::new("test.yaml", document.to_string());
    load(&[file], &mesh).diagnostics
}

#[test]
fn every_schema_is_a_schema() {
    for kind in Kind::ALL {
        let schema = of(*kind, &Docs::default());
        assert!(jsonschema::draft7::meta::is_valid(&schema), "{kind}");
        jsonschema::draft7::new(&schema).unwrap();
    }
    assert!(jsonschema::draft7::meta::is_valid(&all(&Docs::default())));
}

#[test]
fn good_documents_are_valid() {
    let bundle = bundle();
    for document in corpus() {
        let problems = problems(&bundle, &document);
        assert!(problems.is_empty(), "{problems:#?}\n{document:#}");
    }
}

#[test]
fn documents_of_a_wrong_shape_are_not() {
    let bundle = bundle();
    let service = |spec: Value| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "a"}, "spec": spec,
        })
    };
    let route = json!([{"destination": {"host": "a"}}]);
    let good = service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": "10s"}]}));
    assert_eq!(problems(&bundle, &good), Vec::<String>::new());
    for (what, wrong) in [
        (
            "unknown field",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeuot": "10s"}]})),
        ),
        (
            "wrong type",
            service(json!({"hosts": "a", "http": [{"route": route}]})),
        ),
        (
            "number for a duration",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": 10}]})),
        ),
        (
            "no duration",
            service(json!({"hosts": ["a"], "http": [{"route": route, "timeout": "10 s"}]})),
        ),
        (
            "missing",
            service(json!({"hosts": ["a"], "http": [{"route": [{}]}]})),
        ),
        (
            "empty",
            service(json!({"hosts": [], "http": [{"route": route}]})),
        ),
        (
            "exclusive",
            service(json!({"hosts": ["a"], "http": [{"route": route, "redirect": {"uri": "/"}}]})),
        ),
        (
            "none of several",
            service(json!({"hosts": ["a"], "http": [{"name": "a"}]})),
        ),
        (
            "no version of ours",
            json!({"apiVersion": "networking.istio.io/v2", "kind": "Gateway"}),
        ),
        (
            "no kind of ours",
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualServices"}),
        ),
        (
            "no name",
            json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {}}),
        ),
        (
            "within a list",
            json!({"apiVersion": "v1", "kind": "List", "items": [service(json!({}))]}),
        ),
        (
            "unknown name",
            json!({
                "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "a"},
                "spec": {"mtls": {"mode": "STRIKT"}},
            }),
        ),
    ] {
        assert_ne!(
            problems(&bundle, &wrong),
            Vec::<String>::new(),
            "{what}: {wrong:#}"
        );
        assert!(
            findings(&wrong).iter().any(Diagnostic::is_error),
            "{what}: {wrong:#}"
        );
    }
}
