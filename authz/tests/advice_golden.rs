//! Every finding about the demo and about the seeds' documents, read line by line before it was written down.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use policies::{diagnostic::Diagnostic, load::load, mesh::Mesh, source::SourceFile};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folders: &[&str]) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for folder in folders {
        let mut paths: Vec<_> = std::fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.push(SourceFile::new(
                name,
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    files
}

/// Everything that is found in a closed set, with its severity, but what is not in force yet.
fn findings(files: &[SourceFile]) -> String {
    let mesh = Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    };
    let loaded = load(files, &mesh);
    let mesh = &loaded.mesh;
    let documents = &loaded.documents;
    let (registry, across) = policies::check::check(documents, mesh);
    let mut found: Vec<Diagnostic> = loaded.diagnostics.clone();
    found.retain(|finding| !(200..300).contains(&finding.code.number()));
    found.extend(across);
    found.extend(authz::check::check(documents, &registry, mesh));
    found.extend(policies::advice::advise(documents, &registry, mesh));
    found.extend(authz::advice::advise(documents, &registry, mesh));
    found.sort_by(|a, b| a.at.cmp(&b.at));
    found.iter().fold(String::new(), |mut text, finding| {
        writeln!(text, "{finding}").unwrap();
        text
    })
}

/// Compares with the golden file; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        actual,
        expected,
        "{} differs; UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}

/// The instances that register with `portcullis up`.
const INSTANCES: [(&str, &str, &str); 10] = [
    ("product-service-v1", "product-service", "v1"),
    ("product-service-v2", "product-service", "v2"),
    ("order-service", "order-service", "v1"),
    ("order-service-2", "order-service", "v1"),
    ("catalog-service", "catalog-service", "v1"),
    ("catalog-service-2", "catalog-service", "v1"),
    ("payment-service", "payment-service", "v1"),
    ("payment-service-2", "payment-service", "v1"),
    ("inventory-service", "inventory-service", "v1"),
    ("inventory-service-2", "inventory-service", "v1"),
];

fn endpoints() -> String {
    let entries = (1..).zip(INSTANCES).map(|(number, (name, app, version))| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: my-app}}\n\
             spec: {{address: 127.0.0.1, ports: {{http: {}}}, labels: {{app: {app}, version: {version}}}, serviceAccount: {app}}}\n---\n",
            30_000 + number
        )
    });
    entries.collect()
}

#[test]
fn the_demo() {
    let mut files = files(&[
        "deploy/demo/policies",
        "deploy/demo/policies/resilience-policies",
    ]);
    files.push(SourceFile::new("endpoints.yaml", endpoints()));
    golden("advice-demo.txt", &findings(&files));
}

#[test]
fn the_seeds() {
    let files = files(&["tests/corpus/seeds", "tests/corpus/services"]);
    golden("advice-seeds.txt", &findings(&files));
}
