//! Fixes: what a program changes, that the result is good, and that nothing else moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::as_conversions,
    reason = "a failed test is a panic"
)]

use policies::diagnostic::{Diagnostic, Fix, fix};
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use proptest::prelude::*;

fn findings(text: &str) -> Vec<Diagnostic> {
    load(&[SourceFile::new("a.yaml", text)], &Mesh::default()).diagnostics
}

fn fixes(text: &str) -> Vec<Fix> {
    let found = findings(text).into_iter();
    found.filter_map(|finding| finding.fix).collect()
}

/// The text after every fix, fixed again until nothing is left to fix.
fn fixed(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..8 {
        let fixes = fixes(&text);
        if fixes.is_empty() {
            return text;
        }
        let (next, skipped) = fix::apply(&text, &fixes);
        assert!(skipped < fixes.len(), "{fixes:?}");
        text = next;
    }
    panic!("fixing does not end:\n{text}");
}

const HEAD: &str =
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a} # name\n";

fn virtual_service(spec: &str) -> String {
    format!("{HEAD}spec:\n  hosts: [a]\n{spec}")
}

fn route(more: &str) -> String {
    virtual_service(&format!(
        "  http:\n  - route: [{{destination: {{host: a}}}}]\n{more}"
    ))
}

fn rule(traffic_policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\n\
         spec:\n  host: a\n  trafficPolicy:\n{traffic_policy}"
    )
}

#[test]
fn each_mechanical_mistake_is_cured_and_the_rest_stays_as_it_is() {
    let cases = [
        // A slip in a field's name, in a value's name, in a kind, in a version.
        (
            route("    timout: 3s # soon\n"),
            route("    timeout: 3s # soon\n"),
        ),
        (
            rule("    tls: {mode: \"ISTIO_MUTAL\"} # all\n"),
            rule("    tls: {mode: ISTIO_MUTUAL} # all\n"),
        ),
        (
            route("").replace("VirtualService", "VirtualServices"),
            route(""),
        ),
        (
            route("").replace("istio.io/v1\n", "istio.io/v7\n"),
            route(""),
        ),
        // Old names.
        (
            rule("    outlierDetection:\n      consecutiveErrors: 5 # 5xx\n      interval: 1s\n"),
            rule(
                "    outlierDetection:\n      consecutive5xxErrors: 5 # 5xx\n      interval: 1s\n",
            ),
        ),
        (
            rule(
                "    outlierDetection:\n      consecutiveErrors: 5\n      consecutive5xxErrors: 7\n",
            ),
            rule("    outlierDetection:\n      consecutive5xxErrors: 7\n"),
        ),
        (
            rule("    loadBalancer: {simple: LEAST_CONN}\n"),
            rule("    loadBalancer: {simple: LEAST_REQUEST}\n"),
        ),
        // Quotes and units.
        (route("    timeout: 10\n"), route("    timeout: 10s\n")),
        (
            route("    retries: {attempts: \"3\"}\n"),
            route("    retries: {attempts: 3}\n"),
        ),
        (route("    name: 7\n"), route("    name: \"7\"\n")),
        (
            route("    match: [{ignoreUriCase: yes, uri: {exact: /}}]\n"),
            route("    match: [{ignoreUriCase: true, uri: {exact: /}}]\n"),
        ),
        (
            virtual_service("").replace("[a]", "[\"https://a.example\"]")
                + "  http: [{route: [{destination: {host: a}}]}]\n",
            virtual_service("").replace("[a]", "[a.example]")
                + "  http: [{route: [{destination: {host: a}}]}]\n",
        ),
        // Comments and tabs of other languages.
        (
            format!("// head\n{}  // tail\n", route("    timeout: 1s // soon\n")),
            format!("# head\n{}  # tail\n", route("    timeout: 1s # soon\n")),
        ),
        (
            route("    timeout: 1s // soon\r\n"),
            route("    timeout: 1s # soon\r\n"),
        ),
        (route("\t\ttimeout: 1s\n"), route("    timeout: 1s\n")),
        // Beside `http` instead of inside its rule.
        (
            virtual_service(
                "  retries:\n    attempts: 3 # tries\n    retryOn: 5xx\n  timeout: 3s\n  http:\n    # the one\n    - route:\n        - destination: {host: a}\n",
            ),
            virtual_service(
                "  http:\n    # the one\n    - timeout: 3s\n      retries:\n        attempts: 3 # tries\n        retryOn: 5xx\n      route:\n        - destination: {host: a}\n",
            ),
        ),
    ];
    for (wrong, right) in cases {
        let before: Vec<String> = findings(&wrong).iter().map(ToString::to_string).collect();
        let result = fixed(&wrong);
        assert_eq!(result, right, "{before:?}");
        assert!(
            !findings(&result).iter().any(Diagnostic::is_error),
            "{:?}",
            findings(&result)
        );
    }
}

#[test]
fn what_is_not_mechanical_is_left_to_people() {
    for wrong in [
        // Two rules: nobody knows which one is meant.
        virtual_service(
            "  timeout: 1s\n  http: [{route: [{destination: {host: a}}]}, {route: [{destination: {host: b}}]}]\n",
        ),
        // The right name is there already.
        route("    timeout: 1s\n    timout: 2s\n"),
        // Far from any name.
        route("    patience: 2s\n"),
        route("    timeout: -5\n"),
    ] {
        assert_eq!(fixes(&wrong), [], "{wrong}");
        assert!(findings(&wrong).iter().any(Diagnostic::is_error), "{wrong}");
    }
}

#[test]
fn a_finding_ends_where_its_value_ends() {
    let text =
        route("    match: [{uri: {exact: 'a b'}}]\n    timeout: \"x y\"\n    nonsense: {a: 1}\n");
    let ends: Vec<String> = findings(&text)
        .iter()
        .map(|finding| {
            let line = text.lines().nth(finding.at.line as usize - 1).unwrap();
            let (start, end) = (
                finding.at.column as usize - 1,
                finding.at.end.column as usize - 1,
            );
            assert_eq!(finding.at.end.line, finding.at.line);
            line[start..end].to_owned()
        })
        .collect();
    assert_eq!(ends, ["\"x y\"", "nonsense"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever stands in a file: fixing it never panics and never yields what cannot be cut.
    #[test]
    fn any_damage_is_survived(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3_u8), 1..6)
    ) {
        let mut characters: Vec<char> = rule(
            "    outlierDetection: &a\n      consecutiveErrors: 5\n      interval: 10\n    tls: {mode: disable}\n    // x\n\tb: *a\n"
        ).chars().collect();
        for (place, new, what) in cuts {
            let place = place.index(characters.len());
            match what {
                0 => { characters.remove(place); }
                1 => characters.insert(place, new),
                _ => characters[place] = new,
            }
        }
        let mut text: String = characters.into_iter().collect();
        for _ in 0..3 {
            text = fix::apply(&text, &fixes(&text)).0;
        }
    }
}
