//! Every diagnostic code has one page; its wrong example has exactly that finding, its right example none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeSet;
use std::path::Path;

use dataplane::checked::check;
use policies::diagnostic::page::{Example, Page};
use policies::diagnostic::{Code, Diagnostic};
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::source::SourceFile;

/// Everything that `portcullis lint --closed` says about documents, but the CA's part.
fn findings(example: &Example<'_>) -> Vec<Diagnostic> {
    match SourceFile::from_bytes("example.yaml", example.bytes()) {
        Ok(file) => {
            let checked = check(&mut Loader::default(), &[file], &Mesh::default());
            let mut found = checked.advice();
            found.extend(checked.diagnostics);
            found
        }
        Err(finding) => vec![*finding],
    }
}

fn codes(findings: &[Diagnostic]) -> BTreeSet<String> {
    findings
        .iter()
        .map(|finding| finding.code.to_string())
        .collect()
}

fn set<'a>(codes: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    codes.into_iter().map(str::to_owned).collect()
}

/// A crate's folder, its codes, and what gives their pages.
struct Register {
    name: &'static str,
    all: &'static [(Code, &'static str)],
    explain: fn(Code) -> Option<&'static str>,
}

const CRATES: &[Register] = &[
    Register {
        name: "policies",
        all: policies::diagnostic::codes::ALL,
        explain: policies::diagnostic::codes::explanation,
    },
    Register {
        name: "authz",
        all: authz::codes::ALL,
        explain: authz::codes::explanation,
    },
];

#[test]
fn every_code_has_one_page_and_every_page_a_code() {
    for Register { name, all, explain } in CRATES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(name)
            .join("codes");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let expected: BTreeSet<String> = all.iter().map(|(code, _)| format!("{code}.md")).collect();
        assert_eq!(files, expected, "{name}");
        assert_eq!(expected.len(), all.len(), "{name} has a number twice");
        for (code, constant) in *all {
            let page = Page::parse(explain(*code).unwrap());
            let page =
                page.unwrap_or_else(|| panic!("the page of {constant} ({code}) has another shape"));
            assert_eq!(page.code, code.to_string(), "the title of {code}.md");
            assert!(
                page.wrong().is_some() && page.right().is_some(),
                "{code}.md lacks an example"
            );
        }
    }
}

#[test]
fn every_example_has_the_findings_that_it_promises() {
    let mut wrong_ones = Vec::new();
    for Register { all, explain, .. } in CRATES {
        for (code, name) in *all {
            let page = Page::parse(explain(*code).unwrap()).unwrap();
            let (wrong, right) = (page.wrong().unwrap(), page.right().unwrap());
            let own = page.code;
            for (kind, example, expected) in [
                ("wrong", wrong, set(wrong.also.iter().copied().chain([own]))),
                ("right", right, set(right.also.iter().copied())),
            ] {
                let found = findings(example);
                if codes(&found) != expected {
                    let lines: Vec<String> = found
                        .iter()
                        .map(|finding| format!("    {finding}"))
                        .collect();
                    wrong_ones.push(format!("{code} {name}, {kind}:\n{}", lines.join("\n")));
                }
            }
        }
    }
    assert!(wrong_ones.is_empty(), "\n{}", wrong_ones.join("\n"));
}
