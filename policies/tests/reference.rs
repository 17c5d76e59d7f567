//! `docs/policies.md` names every field that a decoder asks for.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeSet;
use std::path::Path;

use policies::document::Kind;
use policies::schema::{Docs, of};
use serde_json::Value;

/// Where the fields of a schema stand, at any depth: `http.route.weight`.
fn fields(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}");
        fields(property, &path, found);
        found.insert(path);
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            fields(&schema[part], at, found);
        }
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        fields(alternative, at, found);
    }
}

/// The words in back-ticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .collect()
}

/// The kind's section of the reference.
fn section(reference: &str, kind: Kind) -> &str {
    let heading = format!("\n## {kind}\n");
    let (_, section) = reference
        .split_once(&heading)
        .unwrap_or_else(|| panic!("docs/policies.md has no section `## {kind}`"));
    section.split("\n## ").next().unwrap_or_default()
}

/// Fields that the reference explains with another kind, and that kind: "as `probe` of a WorkloadGroup".
fn referrals(section: &str) -> Vec<(String, Kind)> {
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let (name, rest) = row
            .trim_start_matches('|')
            .split_once('|')
            .unwrap_or_default();
        let other = Kind::ALL
            .iter()
            .copied()
            .find(|kind| rest.contains(&format!(" a {kind} ")));
        let names = name.split('`').skip(1).step_by(2);
        names.filter_map(move |name| Some((format!(".{}.", name.replace("[]", "")), other?)))
    })
    .collect()
}

#[test]
fn the_reference_names_every_field_of_every_kind() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policies.md");
    let reference = std::fs::read_to_string(path).unwrap();
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        let section_of = |kind| section(&reference, kind);
        let said = quoted(section_of(*kind));
        let referrals = referrals(section_of(*kind));
        let mut found = BTreeSet::new();
        fields(
            &of(*kind, &Docs::default())["properties"]["spec"],
            "",
            &mut found,
        );
        for path in found {
            let name = path.rsplit('.').next().unwrap_or_default();
            let elsewhere = referrals.iter().any(|(below, other)| {
                path.starts_with(below) && quoted(section_of(*other)).contains(name)
            });
            if !said.contains(name) && !elsewhere {
                missing.push(format!("{kind}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "docs/policies.md lacks {missing:#?}");
}

#[test]
fn editors_show_the_words_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policies.md");
    let docs = Docs::parse(&std::fs::read_to_string(path).unwrap());
    let schema = of(Kind::VirtualService, &docs);
    let route = &schema["properties"]["spec"]["properties"]["http"]["items"]["properties"];
    let described = |field: &str| route[field]["description"].as_str().unwrap_or_default();
    assert!(
        described("timeout").contains("in force: yes"),
        "{}",
        described("timeout")
    );
    assert!(
        described("retries").contains("in force: yes"),
        "{}",
        described("retries")
    );
}
