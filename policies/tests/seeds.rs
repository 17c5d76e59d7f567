//! The documents of the seeds: whole ones load verbatim, fragments get exact errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::fmt::Write as _;
use std::path::Path;

use policies::diagnostic::Diagnostic;
use policies::load::{Loaded, load};
use policies::mesh::Mesh;
use policies::source::SourceFile;

fn mesh() -> Mesh {
    Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    }
}

fn corpus(folder: &str) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/corpus")
        .join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            SourceFile::new(name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .fold(String::new(), |mut text, diagnostic| {
            writeln!(text, "{diagnostic}").unwrap();
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

#[test]
fn seeds_load_verbatim() {
    let Loaded {
        documents,
        diagnostics,
        ..
    } = load(&corpus("seeds"), &mesh());
    assert!(
        !diagnostics.iter().any(Diagnostic::is_error),
        "{}",
        lines(&diagnostics)
    );
    assert_eq!(documents.virtual_services.len(), 2);
    assert_eq!(documents.destination_rules.len(), 2);
    assert_eq!(documents.authorization_policies.len(), 1);
    assert_eq!(documents.peer_authentications.len(), 1);
    golden("seeds.txt", &lines(&diagnostics));
}

#[test]
fn fragments_get_exact_errors() {
    let mut all = String::new();
    for file in corpus("fragments").into_iter().chain(corpus("refused")) {
        let loaded = load(std::slice::from_ref(&file), &mesh());
        assert!(
            loaded.has_errors(),
            "{} is incomplete, but loads",
            file.name
        );
        all.push_str(&lines(&loaded.diagnostics));
    }
    golden("fragments.txt", &all);
}

#[test]
fn rendered_like_rustc() {
    let files = corpus("fragments");
    let loaded = load(&files, &mesh());
    golden(
        "rendered.txt",
        &policies::diagnostic::render(&loaded.diagnostics, &files),
    );
}
