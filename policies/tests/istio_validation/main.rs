//! What Istio's own validation says of a document, and what we say: the cases of its validation tests, as YAML.
//!
//! Each case has Istio's verdict and our codes. Where we accept what Istio refuses, or refuse what it accepts, the case
//! says why; a reason without a disagreement is a mistake too, so the list of disagreements is complete.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod destination_rule;
mod gateway;
mod security;
mod service_entry;
mod virtual_service;

use std::fmt::Write as _;

use policies::diagnostic::Diagnostic;
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;

/// Istio's verdict; its warnings count as acceptance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Istio {
    Accepts,
    Refuses,
}

/// Name, `spec`, Istio's verdict, our codes, and why we differ if we do.
type Case = (
    &'static str,
    &'static str,
    Istio,
    &'static str,
    &'static str,
);

fn check(kind: &str, cases: &[Case]) {
    let mut wrong = String::new();
    let security = matches!(kind, "AuthorizationPolicy" | "PeerAuthentication");
    let group = if security { "security" } else { "networking" };
    for (name, spec, istio, expected, why) in cases {
        let text = format!(
            "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: foo, namespace: bar}}\nspec: {spec}\n"
        );
        let loaded = load(&[SourceFile::new("f", text.as_str())], &Mesh::default());
        let refused = loaded.diagnostics.iter().any(Diagnostic::is_error);
        let mut codes: Vec<String> = loaded
            .diagnostics
            .iter()
            .map(|found| found.code.to_string())
            .collect();
        codes.sort();
        codes.dedup();
        let codes = codes.join(" ");
        let differs = refused != (*istio == Istio::Refuses);
        if codes != *expected || differs == why.is_empty() {
            let findings: Vec<String> =
                loaded.diagnostics.iter().map(ToString::to_string).collect();
            writeln!(
                wrong,
                "{name}: expected `{expected}`, found `{codes}`; differs from Istio: {differs}, reason: `{why}`\n  {}",
                findings.join("\n  ")
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
