//! Documents in the shapes that Istio's users bring: each is accepted, or refused for a reason that Istio would agree with or that
//! its file names as ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    reason = "a failed test is a panic"
)]

use std::path::{Path, PathBuf};

use policies::diagnostic::Diagnostic;
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/istio")
}

fn samples() -> Vec<SourceFile> {
    let root = corpus();
    let mut files = Vec::new();
    for area in std::fs::read_dir(&root).unwrap() {
        let area = area.unwrap().path();
        if !area.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(area).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
            files.push(SourceFile::new(
                name,
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(files.len() > 200, "{} samples", files.len());
    files
}

/// What the head of a file says.
fn head<'a>(file: &'a SourceFile, word: &str) -> Option<&'a str> {
    let lines = file.text.lines().take_while(|line| line.starts_with('#'));
    lines
        .filter_map(|line| line.strip_prefix("# "))
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(": "))
}

/// Everything that is wrong with a file alone; what may live in another file is not.
fn findings(file: &SourceFile) -> Vec<Diagnostic> {
    let loaded = load(std::slice::from_ref(file), &Mesh::default());
    let (registry, across) = policies::check::check(&loaded.documents, &loaded.mesh);
    let policies = authz::check::check(&loaded.documents, &registry, &loaded.mesh);
    let mut found: Vec<Diagnostic> = loaded
        .diagnostics
        .into_iter()
        .chain(across)
        .chain(policies)
        .collect();
    found.retain(|found| !found.code.is_open_reference());
    found.sort_by(|a, b| a.at.cmp(&b.at));
    found
}

#[test]
fn every_sample_is_judged_as_its_head_says() {
    let mut wrong = String::new();
    for file in samples() {
        assert!(
            head(&file, "After").is_some(),
            "{} does not say what it follows",
            file.name
        );
        let found = findings(&file);
        let errors: Vec<String> = found
            .iter()
            .filter(|found| found.is_error())
            .map(ToString::to_string)
            .collect();
        let expected = match (head(&file, "Istio"), head(&file, "Ours")) {
            (Some("accepts"), None) => errors.is_empty(),
            (Some("refuses"), None) => !errors.is_empty(),
            // Ours is stricter; until it is in force or when it is, both are fine if the text says "may".
            (Some("accepts"), Some(reason)) => {
                !errors.is_empty() || reason.contains(" may be ") || reason.contains("either ")
            }
            other => panic!("{}: {other:?}", file.name),
        };
        if !expected {
            wrong.push_str(&format!("{} is judged otherwise:\n", file.name));
            for error in errors {
                wrong.push_str(&format!("    {error}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_finding_is_known() {
    let mut all = String::new();
    for file in samples() {
        let found = findings(&file);
        if found.is_empty() {
            all.push_str(&format!("{}: nothing to say\n", file.name));
        }
        for finding in found {
            all.push_str(&format!("{finding}\n"));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/istio_samples.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &all).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        all,
        expected,
        "{} differs; UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}
