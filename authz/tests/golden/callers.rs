//! `from`: identities, trust domains and addresses.

use policies::mesh::Mesh;

use crate::table::*;

#[test]
fn negations_hold_without_an_identity() {
    let cases = [
        (case(ORDER, "GET /"), "deny"),
        (case(OTHER, "GET /"), "allow p/0"),
        (case(NOBODY, "GET /"), "allow p/0"),
    ];
    table(
        &allow("{from: [{source: {notPrincipals: [cluster.local/ns/my-app/sa/order-service]}}]}"),
        &cases,
    );
    table(
        &allow("{from: [{source: {notServiceAccounts: [order-service]}}]}"),
        &cases,
    );
    let nobody_only = [
        (case(ORDER, "GET /"), "deny"),
        (case(NOBODY, "GET /"), "allow p/0"),
    ];
    table(
        &allow("{from: [{source: {notNamespaces: [my-app]}}]}"),
        &nobody_only,
    );
    table(
        &allow("{from: [{source: {notPrincipals: ['*']}}]}"),
        &nobody_only,
    );
    // The idiom "mTLS required".
    table(
        &deny("{from: [{source: {notPrincipals: ['*']}}]}"),
        &[
            (case(ORDER, "GET /"), "allow"),
            (case(NOBODY, "GET /"), "deny p/0"),
        ],
    );
}

#[test]
fn who_calls() {
    for (source, yes, no) in [
        (
            "principals: ['*']",
            vec![ORDER, OTHER, ABROAD],
            vec![NOBODY],
        ),
        (
            "principals: ['*/sa/order-service']",
            vec![ORDER, ABROAD],
            vec![OTHER, NOBODY],
        ),
        (
            "principals: ['cluster.local/ns/my-app/*']",
            vec![ORDER, OTHER],
            vec![ABROAD, NOBODY],
        ),
        (
            "principals: ['spiffe://cluster.local/ns/my-app/sa/order-service']",
            vec![],
            vec![ORDER, NOBODY],
        ),
        (
            "namespaces: [my-app]",
            vec![ORDER, OTHER],
            vec![ABROAD, NOBODY],
        ),
        (
            "namespaces: ['my-*']",
            vec![ORDER, OTHER],
            vec![ABROAD, NOBODY],
        ),
        (
            "serviceAccounts: [order-service]",
            vec![ORDER],
            vec![OTHER, ABROAD, NOBODY],
        ),
        (
            "serviceAccounts: [elsewhere/order-service]",
            vec![ABROAD],
            vec![ORDER, OTHER, NOBODY],
        ),
        (
            "namespaces: [my-app], notPrincipals: ['*/sa/billing']",
            vec![ORDER],
            vec![OTHER, ABROAD, NOBODY],
        ),
    ] {
        let yaml = allow(&format!("{{from: [{{source: {{{source}}}}}]}}"));
        let yes = yes
            .into_iter()
            .map(|peer| (case(peer, "GET /"), "allow p/0"));
        let no = no.into_iter().map(|peer| (case(peer, "GET /"), "deny"));
        table(&yaml, &yes.chain(no).collect::<Vec<_>>());
    }
}

#[test]
fn a_service_account_belongs_to_the_namespace_of_its_policy() {
    let yaml = named(
        "p",
        "istio-system",
        "{rules: [{from: [{source: {serviceAccounts: [gateway]}}]}]}",
    );
    table(
        &yaml,
        &[
            (
                case(Some("cluster.local/ns/istio-system/sa/gateway"), "GET /"),
                "allow p/0",
            ),
            (
                case(Some("cluster.local/ns/my-app/sa/gateway"), "GET /"),
                "deny",
            ),
        ],
    );
}

#[test]
fn trust_domains_and_their_aliases() {
    let mesh = Mesh {
        trust_domain: "new.example".to_owned(),
        trust_domain_aliases: vec!["old.example".to_owned()],
        ..Mesh::default()
    };
    let new = Some("new.example/ns/my-app/sa/order-service");
    let old = Some("old.example/ns/my-app/sa/order-service");
    let local = Some("cluster.local/ns/my-app/sa/order-service");
    for (principal, expected) in [
        (
            "cluster.local/ns/my-app/sa/order-service",
            ["allow p/0", "allow p/0", "deny"],
        ),
        (
            "new.example/ns/my-app/sa/order-service",
            ["allow p/0", "allow p/0", "deny"],
        ),
        (
            "old.example/ns/my-app/sa/order-service",
            ["allow p/0", "allow p/0", "deny"],
        ),
        (
            "other.example/ns/my-app/sa/order-service",
            ["deny", "deny", "deny"],
        ),
        ("new.example/ns/my-app/*", ["allow p/0", "deny", "deny"]),
        (
            "*/ns/my-app/sa/order-service",
            ["allow p/0", "allow p/0", "allow p/0"],
        ),
    ] {
        for rule in [
            format!("{{from: [{{source: {{principals: ['{principal}']}}}}]}}"),
            format!("{{when: [{{key: source.principal, values: ['{principal}']}}]}}"),
        ] {
            let cases = [new, old, local].into_iter().zip(expected);
            let cases: Vec<_> = cases
                .map(|(peer, expected)| (case(peer, "GET /"), expected))
                .collect();
            table_in(&mesh, &allow(&rule), &cases);
        }
    }
}

#[test]
fn addresses() {
    let from = |source, remote| Case {
        source,
        remote,
        ..case(NOBODY, "GET /")
    };
    table(
        &allow("{from: [{source: {ipBlocks: [10.1.0.0/16, '192.168.1.1', 'fd00::/8']}}]}"),
        &[
            (from("10.1.2.3", "1.1.1.1"), "allow p/0"),
            (from("10.2.2.3", "10.1.2.3"), "deny"),
            (from("192.168.1.1", "1.1.1.1"), "allow p/0"),
            (from("::ffff:10.1.2.3", "1.1.1.1"), "allow p/0"),
            (from("fd12::1", "1.1.1.1"), "allow p/0"),
        ],
    );
    table(
        &allow(
            "{from: [{source: {remoteIpBlocks: [203.0.113.0/24], notRemoteIpBlocks: [203.0.113.9]}}]}",
        ),
        &[
            (from("10.0.0.1", "203.0.113.7"), "allow p/0"),
            (from("10.0.0.1", "203.0.113.9"), "deny"),
            (from("203.0.113.7", "10.0.0.1"), "deny"),
        ],
    );
    table(
        &deny(
            "{when: [{key: source.ip, notValues: [10.0.0.0/8]}, {key: remote.ip, values: [0.0.0.0/0]}]}",
        ),
        &[
            (from("10.0.0.1", "1.1.1.1"), "allow"),
            (from("11.0.0.1", "1.1.1.1"), "deny p/0"),
            (from("11.0.0.1", "::1"), "allow"),
        ],
    );
    table(
        &deny("{when: [{key: destination.ip, values: [10.0.0.2]}]}"),
        &[(case(NOBODY, "tcp"), "deny p/0")],
    );
}
