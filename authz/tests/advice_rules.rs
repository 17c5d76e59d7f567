//! Rules that are called superfluous are: without them every decision is the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use authz::{Facts, HttpFacts, PolicySet};
use http::HeaderMap;
use identity::id::SpiffeId;
use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};
use proptest::prelude::*;

fn policy(name: &str, action: &str, rules: &[String], left_out: &BTreeSet<usize>) -> String {
    let kept: Vec<&str> = rules
        .iter()
        .enumerate()
        .filter(|(number, _)| !left_out.contains(number))
        .map(|(_, rule)| rule.as_str())
        .collect();
    // A policy without rules allows nothing; one that denies nothing is left out.
    if kept.is_empty() && action == "DENY" {
        return String::new();
    }
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{action: {action}, rules: [{}]}}\n",
        kept.join(", ")
    )
}

/// The set, and the rules without effect: of the ALLOW policy, and of the DENY policy.
fn compile(text: &str) -> (PolicySet, [BTreeSet<usize>; 2]) {
    let mesh = Mesh::default();
    let documents = load(&[SourceFile::new("f", text)], &mesh).documents;
    let (registry, _) = policies::check::check(&documents, &mesh);
    assert!(
        authz::check::check(&documents, &registry, &mesh)
            .iter()
            .all(|finding| !finding.is_error())
    );
    let mut superfluous = [BTreeSet::new(), BTreeSet::new()];
    for finding in authz::advice::advise(&documents, &registry, &mesh) {
        let code = finding.code.to_string();
        if code == "PC0443" || code == "PC0444" {
            let denies = finding.at.line > 5 && text.contains("ALLOW");
            let rule = finding
                .path
                .split(['[', ']'])
                .find_map(|part| part.parse().ok());
            superfluous[usize::from(denies)].insert(rule.unwrap());
        }
    }
    let workload = Workload {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels: BTreeMap::new(),
    };
    (
        PolicySet::compile(&documents, &workload, &mesh),
        superfluous,
    )
}

fn list(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::subsequence(values, 1..=2).prop_map(|values| {
        format!(
            "[{}]",
            values
                .iter()
                .map(|value| format!("'{value}'"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    })
}

fn fields(all: Vec<(&'static str, &'static [&'static str])>) -> impl Strategy<Value = String> {
    let each: Vec<_> = all
        .into_iter()
        .map(|(name, values)| {
            proptest::option::weighted(0.4, list(values))
                .prop_map(move |values| values.map(|values| format!("{name}: {values}")))
        })
        .collect();
    each.prop_map(|fields| fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
        .prop_filter("something is named", |fields| !fields.is_empty())
}

const PRINCIPALS: &[&str] = &[
    "cluster.local/ns/shop/sa/a",
    "cluster.local/ns/shop/sa/b",
    "cluster.local/ns/shop/*",
    "*/sa/a",
    "*",
];
const PATHS: &[&str] = &["/a", "/a/*", "/a*", "*/b", "/a/{*}", "/{**}", "*"];
const METHODS: &[&str] = &["GET", "POST", "P*", "*"];

fn rule() -> impl Strategy<Value = String> {
    let source = fields(vec![
        ("principals", PRINCIPALS),
        ("notPrincipals", PRINCIPALS),
        ("namespaces", &["shop", "*", "other"]),
    ]);
    let operation = fields(vec![
        ("paths", PATHS),
        ("notPaths", PATHS),
        ("methods", METHODS),
        ("notMethods", METHODS),
        ("ports", &["80", "81"]),
    ]);
    (
        proptest::option::of(source),
        proptest::option::of(operation),
    )
        .prop_map(|(source, operation)| {
            let from = source.map(|source| format!("from: [{{source: {{{source}}}}}]"));
            let to = operation.map(|operation| format!("to: [{{operation: {{{operation}}}}}]"));
            format!(
                "{{{}}}",
                from.into_iter().chain(to).collect::<Vec<_>>().join(", ")
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_superfluous_rules_every_decision_is_the_same(
        allow in proptest::collection::vec(rule(), 1..5),
        deny in proptest::collection::vec(rule(), 0..4),
        requests in proptest::collection::vec(
            (
                proptest::option::of(prop_oneof![Just("shop/sa/a"), Just("shop/sa/b"), Just("other/sa/a")]),
                prop_oneof![Just("/a"), Just("/a/b"), Just("/ab"), Just("/b"), Just("/a/x/b")],
                prop_oneof![Just("GET"), Just("POST"), Just("PUT")],
                prop_oneof![Just(80_u16), Just(81)],
            ),
            30,
        ),
    ) {
        let none = BTreeSet::new();
        let whole = policy("allow", "ALLOW", &allow, &none) + &policy("deny", "DENY", &deny, &none);
        let (set, [of_allow, of_deny]) = compile(&whole);
        let (smaller, _) = compile(&(policy("allow", "ALLOW", &allow, &of_allow) + &policy("deny", "DENY", &deny, &of_deny)));
        let headers = HeaderMap::new();
        for (peer, path, method, port) in requests {
            let peer = peer.map(|peer| SpiffeId::parse(&format!("spiffe://cluster.local/ns/{peer}")).unwrap());
            let here = Ipv4Addr::LOCALHOST.into();
            let facts = Facts {
                peer: peer.as_ref(),
                source_ip: here,
                remote_ip: here,
                destination_ip: here,
                destination_port: port,
                sni: None,
                http: Some(HttpFacts { method, host: "web", path, headers: &headers, claims: None }),
            };
            prop_assert_eq!(set.decide(&facts).verdict, smaller.decide(&facts).verdict, "{:?} {} {}\n{}", peer, method, path, whole);
        }
    }
}
