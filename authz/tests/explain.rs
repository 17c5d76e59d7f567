//! Explanations: the rule that decided, the one that nearly did, and what would have to change.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeMap;

use authz::{
    Facts, HttpFacts, PolicySet, Verdict,
    explain::{Absence, Explanation, Found, Reason},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::id::SpiffeId;
use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};

const CATALOG: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: catalog, namespace: shop}
spec:
  rules:
    - from: [{source: {principals: [cluster.local/ns/shop/sa/order]}}]
      to: [{operation: {methods: [GET, POST], paths: [/api/products/*]}}]
    - from: [{source: {principals: [cluster.local/ns/shop/sa/billing]}}]
      to: [{operation: {methods: [GET], paths: [/api/prices]}}]
      when: [{key: 'request.headers[x-role]', values: [admin]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  action: DENY
  rules:
    - to: [{operation: {paths: [/admin*]}}]
      from: [{source: {notNamespaces: [ops]}}]
";

fn compile(text: &str) -> PolicySet {
    let workload = Workload {
        name: "catalog".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "catalog".to_owned(),
        labels: BTreeMap::new(),
    };
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("shop.yaml", text)], &mesh);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    PolicySet::compile(&loaded.documents, &workload, &mesh)
}

/// `GET /path`, or `tcp`.
fn explain_with(
    set: &PolicySet,
    peer: Option<&str>,
    request: &str,
    headers: &HeaderMap,
) -> Explanation {
    let peer = peer.map(|name| SpiffeId::parse(&format!("spiffe://cluster.local/{name}")).unwrap());
    let here = std::net::Ipv4Addr::LOCALHOST.into();
    let facts = Facts {
        peer: peer.as_ref(),
        source_ip: here,
        remote_ip: here,
        destination_ip: here,
        destination_port: 8080,
        sni: None,
        http: request.split_once(' ').map(|(method, path)| HttpFacts {
            method,
            host: "catalog",
            path,
            headers,
            claims: None,
        }),
    };
    let explanation = set.explain(&facts);
    consistent(set, &facts, &explanation);
    explanation
}

fn explain(set: &PolicySet, peer: Option<&str>, request: &str) -> Explanation {
    explain_with(set, peer, request, &HeaderMap::new())
}

/// What holds of every explanation.
fn consistent(set: &PolicySet, facts: &Facts<'_>, explanation: &Explanation) {
    let decision = set.decide(facts);
    assert_eq!(explanation.verdict, decision.verdict);
    assert_eq!(
        explanation.deciding_rule().map(|rule| &rule.rule),
        decision.by
    );
    assert_eq!(explanation.rules.len(), set.rules());
    for rule in &explanation.rules {
        assert_eq!(
            rule.matched,
            rule.fields.iter().all(|field| field.holds),
            "{rule:?}"
        );
    }
    assert_eq!(explanation.suggestion.is_some(), !explanation.allows());
}

fn steps(explanation: &Explanation) -> Vec<String> {
    let steps = &explanation.suggestion.as_ref().unwrap().steps;
    let shown = steps.iter().map(|step| match &step.at {
        Some(at) => format!("{at}: {}", step.text),
        None => step.text.clone(),
    });
    shown.collect()
}

#[test]
fn a_default_denial_names_the_nearest_rule() {
    let set = compile(CATALOG);
    let denied = explain(&set, Some("ns/shop/sa/order"), "DELETE /api/products/1");
    assert_eq!(denied.reason, Reason::NoRuleMatched);
    let nearest = denied.nearest_rule().unwrap();
    assert_eq!(nearest.rule.to_string(), "ns[shop]-policy[catalog]-rule[0]");
    let failing: Vec<String> = nearest.failing().map(ToString::to_string).collect();
    assert_eq!(failing, ["methods is `DELETE`, not `GET`, `POST`"]);
    assert_eq!(
        steps(&denied),
        ["shop.yaml:7:35: add `DELETE` to `methods`"]
    );
}

#[test]
fn fewer_failing_fields_are_nearer_than_likeness() {
    let set = compile(CATALOG);
    // Of billing's rule only the header fails; of order's the caller and the path do.
    let denied = explain(&set, Some("ns/shop/sa/billing"), "GET /api/prices");
    assert_eq!(denied.nearest_rule().unwrap().rule.rule, 1);
    assert_eq!(
        steps(&denied),
        ["send the header of `request.headers[x-role]` with `admin`"]
    );
    // One field of either: then the rule that knows the caller.
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec:
  rules:
    - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
      to: [{operation: {paths: [/x]}}]
    - from: [{source: {principals: [cluster.local/ns/shop/sa/order]}}]
      to: [{operation: {paths: [/y]}}]
";
    let denied = explain(&compile(text), Some("ns/shop/sa/order"), "GET /x");
    assert_eq!(denied.nearest_rule().unwrap().rule.rule, 1);
    assert_eq!(steps(&denied), ["shop.yaml:10:33: add `/x` to `paths`"]);
}

#[test]
fn among_equals_the_most_alike_values_are_nearest() {
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec:
  rules:
    - to: [{operation: {paths: [/orders]}}, {operation: {paths: [/prices/today]}}]
    - to: [{operation: {paths: [/products/*]}}]
";
    let set = compile(text);
    assert_eq!(
        explain(&set, None, "GET /products")
            .nearest_rule()
            .unwrap()
            .rule
            .rule,
        1
    );
    // Within a rule, the nearest of its operations is shown.
    let denied = explain(&set, None, "GET /prices/now");
    let nearest = denied.nearest_rule().unwrap();
    assert_eq!(nearest.rule.rule, 0);
    assert_eq!(nearest.fields[0].wanted, ["/prices/today"]);
}

#[test]
fn a_caller_without_identity_is_told_to_prove_one() {
    let set = compile(CATALOG);
    let denied = explain(&set, None, "GET /api/products/1");
    let failing = denied.nearest_rule().unwrap().failing().next().unwrap();
    assert_eq!(failing.found, Found::Absent(Absence::Identity));
    assert_eq!(
        steps(&denied),
        [
            "call through mutual TLS, as `cluster.local/ns/shop/sa/order` of `principals`: the caller proved no identity"
        ]
    );
}

#[test]
fn a_deny_rule_says_what_it_matched() {
    let set = compile(CATALOG);
    let denied = explain(&set, Some("ns/shop/sa/order"), "GET /admin/users");
    let Reason::Rule(rule) = &denied.reason else {
        panic!("{denied:?}")
    };
    assert_eq!(rule.to_string(), "ns[shop]-policy[no-admin]-rule[0]");
    assert_eq!(denied.nearest, None);
    assert_eq!(
        steps(&denied),
        [
            "shop.yaml:18:7: narrow this DENY rule, which matches because notNamespaces refuses `ops`, which `shop` \
             is not and paths is `/admin/users`"
        ]
    );
}

#[test]
fn an_allowance_names_its_rule_or_the_absence_of_policies() {
    let set = compile(CATALOG);
    let allowed = explain(&set, Some("ns/shop/sa/order"), "GET /api/products/1");
    assert_eq!(allowed.verdict, Verdict::Allow);
    assert_eq!(allowed.deciding_rule().unwrap().rule.rule, 0);
    let nothing = explain(&PolicySet::default(), None, "GET /");
    assert_eq!(nothing.reason, Reason::NoAllowPolicy);
}

#[test]
fn a_policy_that_allows_nothing_says_so() {
    let set = compile(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {}
",
    );
    let denied = explain(&set, Some("ns/shop/sa/order"), "GET /");
    assert_eq!(denied.nearest, None);
    assert!(steps(&denied)[0].ends_with("allow nothing (shop/nobody)"));
}

#[test]
fn on_tcp_an_http_field_anywhere_takes_the_rule_away() {
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec:
  rules:
    - to: [{operation: {ports: ['8080']}}, {operation: {methods: [GET]}}]
";
    let denied = explain(&compile(text), None, "tcp");
    let failing: Vec<_> = denied.nearest_rule().unwrap().failing().collect();
    assert_eq!(failing.len(), 1);
    assert_eq!(failing[0].found, Found::Absent(Absence::Http));
    assert!(steps(&denied)[0].contains("a rule without `methods`"));
}

#[test]
fn credentials_are_judged_and_not_shown() {
    let set = compile(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: shop}
spec: {rules: [{when: [{key: 'request.headers[authorization]', values: [right]}]}]}
",
    );
    assert_eq!(set.named().headers, [http::header::AUTHORIZATION]);
    for (value, allowed) in [("wrong-secret", false), ("right", true)] {
        let value = HeaderValue::from_static(value);
        let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
        let explanation = explain_with(&set, None, "GET /", &headers);
        assert_eq!(explanation.allows(), allowed);
        let shown = format!("{explanation:?}");
        assert!(
            !shown.contains("wrong-secret") && !shown.contains("right"),
            "{shown}"
        );
    }
}

#[test]
fn repeated_headers_are_shown_whole() {
    let set = compile(CATALOG);
    let role = HeaderName::from_static("x-role");
    let mut headers = HeaderMap::new();
    for value in ["admin", "user"] {
        headers.append(role.clone(), HeaderValue::from_static(value));
    }
    let denied = explain_with(
        &set,
        Some("ns/shop/sa/billing"),
        "GET /api/prices",
        &headers,
    );
    assert_eq!(
        steps(&denied),
        ["shop.yaml:10:56: add `user` to `request.headers[x-role]`"]
    );
}
