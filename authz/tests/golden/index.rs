//! Requests that the index of rules could lose: names with two readings, and rules with several alternatives.

use crate::table::*;

/// Istio looks for `/ns/<namespace>/` anywhere in the identity.
#[test]
fn identities_with_two_readings() {
    for (namespace, peer) in [
        ("sa", "cluster.local/ns/ns/sa/b"),
        ("ns", "cluster.local/ns/ns/sa/b"),
        ("ns", "ns/ns/a/sa/b"),
        ("a", "ns/ns/a/sa/b"),
        ("a", "cluster.local/host/ns/a/x"),
    ] {
        table(
            &allow(&format!(
                "{{from: [{{source: {{namespaces: [{namespace}]}}}}]}}"
            )),
            &[
                (case(Some(peer), "GET /"), "allow p/0"),
                (case(OTHER, "GET /"), "deny"),
            ],
        );
    }
    table(
        &allow("{from: [{source: {serviceAccounts: [a/b]}}]}"),
        &[
            (
                case(Some("cluster.local/ns/a/x/sa/b/y"), "GET /"),
                "allow p/0",
            ),
            (case(Some("cluster.local/ns/a/sa/b"), "GET /"), "allow p/0"),
            (case(Some("ns/ns/a/sa/b"), "GET /"), "allow p/0"),
        ],
    );
}

#[test]
fn one_port_of_several_operations() {
    let on = |port| Case {
        port,
        ..case(NOBODY, "GET /")
    };
    table(
        &allow(
            "{to: [{operation: {ports: ['80'], methods: [PUT]}}, {operation: {ports: ['80'], paths: [/x]}}, \
             {operation: {ports: ['8080']}}]}",
        ),
        &[(on(8080), "allow p/0"), (on(80), "deny")],
    );
}

#[test]
fn values_that_several_headers_make_together() {
    let rule = "{when: [{key: 'request.headers[x-role]', values: ['a,b']}]}";
    let two = Case {
        headers: &[("x-role", "a"), ("x-role", "b")],
        ..case(NOBODY, "GET /")
    };
    table(&deny(rule), &[(two, "deny p/0")]);
    table(&allow(rule), &[(two, "deny")]);
}
