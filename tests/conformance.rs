//! The semantics of AuthorizationPolicy, PeerAuthentication and RequestAuthentication, sentence by sentence: the policy
//! tests of `tests/conformance/`, and the table in its README that says which sentence each of them holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use authz::policy_test::Subject;
use policies::diagnostic::{Diagnostic, render};
use policies::load::policy_tests;
use policies::source::SourceFile;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the suite, by its name.
fn suite() -> Vec<SourceFile> {
    let folder = root().join("tests/conformance");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    let source = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        SourceFile::new(name, fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(source).collect()
}

#[test]
fn every_case_is_decided_as_the_specification_says() {
    let now = SystemTime::now();
    let mut wrong = String::new();
    let mut cases = 0;
    for file in suite() {
        let (tests, findings) = policy_tests(&file);
        let bad = |finding: &Diagnostic| !finding.code.to_string().eq("PC0260");
        let findings: Vec<Diagnostic> = findings.into_iter().filter(bad).collect();
        wrong.push_str(&render(&findings, std::slice::from_ref(&file)));
        for test in tests {
            let subject = match Subject::new(&test, &file, &[]) {
                Ok(subject) => subject,
                Err(mut findings) => {
                    findings.retain(Diagnostic::is_error);
                    wrong.push_str(&render(&findings, std::slice::from_ref(&file)));
                    continue;
                }
            };
            for case in &test.cases {
                cases += 1;
                let judgement = subject.judge(&case.request, now);
                let decider = judgement.by;
                let by = (case.by.as_ref())
                    .is_none_or(|by| decider.is_some_and(|decider| decider.is(by)));
                if judgement.outcome != case.expect.value || !by {
                    let got = decider.map(|by| by.to_string()).unwrap_or_default();
                    writeln!(
                        wrong,
                        "{}: {}, `{}`: expected {} {}, got {} {got}: {}",
                        case.at,
                        test.meta.name,
                        case.name,
                        case.expect.value,
                        case.by
                            .as_ref()
                            .map(ToString::to_string)
                            .unwrap_or_default(),
                        judgement.outcome,
                        judgement.reason,
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(cases > 300, "the suite has moved: {cases} cases");
}

#[test]
fn a_case_is_known_by_its_name() {
    for (file, names) in names() {
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name.clone()), "{file} has `{name}` twice");
        }
    }
}

/// The names of the cases of each file.
fn names() -> BTreeMap<String, Vec<String>> {
    let of = |file: SourceFile| {
        let (tests, _) = policy_tests(&file);
        let cases = tests.iter().flat_map(|test| &test.cases);
        let names = cases.map(|case| case.name.value.clone()).collect();
        (file.name.to_string(), names)
    };
    suite().into_iter().map(of).collect()
}

/// `file: name` of the last column of the README's tables.
fn named() -> Vec<(String, String)> {
    let readme = fs::read_to_string(root().join("tests/conformance/README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| "));
    let held_by = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    let quoted = held_by.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted
        .filter_map(|name| name.split_once(": "))
        .map(|(file, name)| (file.to_owned(), name.to_owned()))
        .collect()
}

#[test]
fn every_named_test_exists() {
    let cases = names();
    let named = named();
    assert!(named.len() > 100, "the table has moved");
    let mut missing = Vec::new();
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for (file, name) in &named {
        let exists = if Path::new(file)
            .extension()
            .is_some_and(|ending| ending == "yaml")
        {
            cases.get(file).is_some_and(|names| names.contains(name))
        } else {
            let text = sources
                .entry(file.clone())
                .or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
            text.contains(&format!("fn {name}("))
        };
        if !exists {
            missing.push(format!("{file}: {name}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_case_stands_in_the_table() {
    let named: BTreeSet<(String, String)> = named().into_iter().collect();
    let missing: Vec<String> = names()
        .into_iter()
        .flat_map(|(file, names)| names.into_iter().map(move |name| (file.clone(), name)))
        .filter(|case| !named.contains(case))
        .map(|(file, name)| format!("{file}: {name}"))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
