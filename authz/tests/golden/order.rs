//! Which rule decides: Istio's order of actions, and the reason that is given.

use std::net::IpAddr;

use authz::{Facts, HttpFacts};
use http::HeaderMap;
use identity::id::SpiffeId;
use policies::mesh::Mesh;

use crate::table::*;

const SEED: &str = r"
apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: product-service-policy
  namespace: my-app
spec:
  selector:
    matchLabels:
      app: product-service
  rules:
    # Allow only calls from order-service
    - from:
        - source:
            principals:
              - cluster.local/ns/my-app/sa/order-service
      to:
        - operation:
            methods:
              - GET
              - POST
            paths:
              - /api/products/*
    # Allow health checks
    - to:
        - operation:
            methods:
              - GET
            paths:
              - /health/*
";

#[test]
fn the_seed_policy() {
    table(
        SEED,
        &[
            (
                case(ORDER, "GET /api/products/1"),
                "allow product-service-policy/0",
            ),
            (
                case(ORDER, "POST /api/products/1"),
                "allow product-service-policy/0",
            ),
            (case(ORDER, "DELETE /api/products/1"), "deny"),
            (case(ORDER, "GET /api/products"), "deny"),
            (case(ORDER, "GET /api/products/../admin"), "deny"),
            (case(ORDER, "GET /api/products/%2e%2e/admin"), "deny"),
            (
                case(ORDER, "GET /x/../api/products/1"),
                "allow product-service-policy/0",
            ),
            (case(ORDER, "get /api/products/1"), "deny"),
            (case(OTHER, "GET /api/products/1"), "deny"),
            (case(ABROAD, "GET /api/products/1"), "deny"),
            (case(NOBODY, "GET /api/products/1"), "deny"),
            (
                case(OTHER, "GET /health/x"),
                "allow product-service-policy/1",
            ),
            (
                case(NOBODY, "GET /health/x"),
                "allow product-service-policy/1",
            ),
            (
                case(ORDER, "GET /health/../api/products/1"),
                "allow product-service-policy/0",
            ),
            (case(OTHER, "GET /health/../api/products/1"), "deny"),
            (case(OTHER, "POST /health/x"), "deny"),
            (case(ORDER, "tcp"), "deny"),
        ],
    );
}

#[test]
fn the_reason_reads_like_istios() {
    let mesh = Mesh::default();
    let set = compile(SEED, &mesh);
    let order = SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/order-service").unwrap();
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let headers = HeaderMap::new();
    let facts = |path| Facts {
        peer: Some(&order),
        source_ip: here,
        remote_ip: here,
        destination_ip: here,
        destination_port: 8080,
        sni: None,
        http: Some(HttpFacts {
            method: "GET",
            host: "x",
            path,
            headers: &headers,
            claims: None,
        }),
    };
    let allowed = set.decide(&facts("/api/products/1")).by.unwrap();
    assert_eq!(
        allowed.to_string(),
        "ns[my-app]-policy[product-service-policy]-rule[0]"
    );
    assert_eq!(allowed.at.to_string(), "golden.yaml:13:7");
    let denied = set.decide(&facts("/"));
    assert_eq!(
        denied.denial_details().to_string(),
        "rbac_access_denied_matched_policy[none]"
    );
}

#[test]
fn without_policies_everything_passes() {
    table(
        "",
        &[
            (case(NOBODY, "GET /"), "allow"),
            (case(NOBODY, "tcp"), "allow"),
        ],
    );
}

#[test]
fn empty_rules() {
    let nothing = [
        (case(ORDER, "GET /"), "deny"),
        (case(NOBODY, "tcp"), "deny"),
    ];
    table(&policy("{}"), &nothing);
    table(&policy("{action: ALLOW}"), &nothing);
    table(
        &policy("{selector: {matchLabels: {app: product-service}}}"),
        &nothing,
    );
    let everything = [
        (case(NOBODY, "GET /"), "allow p/0"),
        (case(NOBODY, "tcp"), "allow p/0"),
    ];
    table(&policy("{rules: [{}]}"), &everything);
    let refused = [
        (case(ORDER, "GET /"), "deny p/0"),
        (case(NOBODY, "tcp"), "deny p/0"),
    ];
    table(&policy("{action: DENY, rules: [{}]}"), &refused);
}

#[test]
fn deny_goes_before_allow_and_reasons_follow_the_documents() {
    let yaml = [
        named("open", "my-app", "{rules: [{}]}"),
        named("second", "my-app", "{rules: [{}]}"),
        named(
            "no-admin",
            "my-app",
            "{action: DENY, rules: [{to: [{operation: {paths: [/admin*]}}]}]}",
        ),
        named(
            "mesh",
            "istio-system",
            "{action: DENY, rules: [{to: [{operation: {paths: [/admin/secret]}}]}]}",
        ),
    ]
    .concat();
    table(
        &yaml,
        &[
            (case(ORDER, "GET /"), "allow open/0"),
            (case(ORDER, "GET /admin"), "deny no-admin/0"),
            (case(ORDER, "GET /admin/secret"), "deny mesh/0"),
        ],
    );
}

#[test]
fn only_deny_policies_leave_the_rest_open() {
    table(
        &deny("{to: [{operation: {methods: [DELETE]}}]}"),
        &[
            (case(NOBODY, "GET /"), "allow"),
            (case(ORDER, "DELETE /"), "deny p/0"),
        ],
    );
}

#[test]
fn fields_are_anded_and_rules_never_mix() {
    let yaml = policy(
        "{rules: [
            {from: [{source: {principals: [cluster.local/ns/my-app/sa/order-service], ipBlocks: [10.0.0.0/8]}}],
             to: [{operation: {methods: [GET], paths: [/a]}}, {operation: {methods: [POST], paths: [/b]}}]},
            {from: [{source: {principals: [cluster.local/ns/my-app/sa/billing]}}], to: [{operation: {paths: [/c]}}]}]}",
    );
    table(
        &yaml,
        &[
            (case(ORDER, "GET /a"), "allow p/0"),
            (case(ORDER, "POST /b"), "allow p/0"),
            (case(ORDER, "GET /b"), "deny"),
            (case(ORDER, "GET /c"), "deny"),
            (case(OTHER, "GET /c"), "allow p/1"),
            (case(OTHER, "GET /a"), "deny"),
            (
                Case {
                    source: "192.168.0.1",
                    ..case(ORDER, "GET /a")
                },
                "deny",
            ),
        ],
    );
}
