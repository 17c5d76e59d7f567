//! CUSTOM and AUDIT.

use policies::mesh::Mesh;

use crate::table::*;

/// Two authorizers, and one provider that is none.
const PROVIDERS: &str = r"
---
apiVersion: portcullis.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec:
  extensionProviders:
  - name: by-grpc
    envoyExtAuthzGrpc: {service: authz.my-app.svc.cluster.local, port: 9000}
  - name: by-http
    envoyExtAuthzHttp: {service: authz.my-app.svc.cluster.local, port: 8000}
  - name: metrics
    prometheus: {}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: authz, namespace: my-app}
spec:
  hosts: [authz.my-app.svc.cluster.local]
  ports: [{number: 9000, name: grpc, protocol: GRPC}, {number: 8000, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.9}]
";

fn custom(name: &str, provider: &str, rules: &str) -> String {
    let spec = format!("{{action: CUSTOM, provider: {{name: {provider}}}, rules: {rules}}}");
    named(name, "my-app", &spec)
}

fn with_providers(policies: &[String]) -> String {
    [PROVIDERS, &policies.concat()].concat()
}

const ADMIN: &str = "[{to: [{operation: {paths: [/admin*]}}]}]";

#[test]
fn a_matching_custom_rule_asks_before_anything_else() {
    let yaml = with_providers(&[
        custom("c", "by-grpc", ADMIN),
        deny("{to: [{operation: {methods: [DELETE]}}]}"),
    ]);
    table(
        &yaml,
        &[
            (case(ORDER, "GET /admin"), "ask by-grpc c/0"),
            // Its answer comes first, and a DENY afterwards: nobody's yes undoes a DENY.
            (case(ORDER, "DELETE /admin"), "ask by-grpc c/0"),
            (case(NOBODY, "GET /admin"), "ask by-grpc c/0"),
            (case(ORDER, "GET /"), "allow"),
            (case(ORDER, "DELETE /"), "deny p/0"),
        ],
    );
}

#[test]
fn custom_policies_do_not_switch_on_default_deny() {
    table(
        &with_providers(&[custom("c", "by-http", ADMIN)]),
        &[(case(NOBODY, "GET /"), "allow")],
    );
}

#[test]
fn the_first_matching_custom_rule_is_named_the_root_namespace_first() {
    let rules = "[{to: [{operation: {methods: [GET]}}]}, {}]";
    let root = "{action: CUSTOM, provider: {name: by-http}, rules: [{to: [{operation: {methods: [PUT]}}]}]}";
    let yaml = with_providers(&[
        custom("c", "by-http", rules),
        named("root", "istio-system", root),
    ]);
    table(
        &yaml,
        &[
            (case(NOBODY, "GET /"), "ask by-http c/0"),
            (case(NOBODY, "POST /"), "ask by-http c/1"),
            (case(NOBODY, "PUT /"), "ask by-http root/0"),
        ],
    );
}

#[test]
fn nobody_is_asked_where_the_provider_is_unknown_or_not_one() {
    let asked = |policies: &[String], expected| {
        table(
            &with_providers(policies),
            &[
                (case(ORDER, "GET /admin"), expected),
                (case(ORDER, "GET /"), "allow"),
            ],
        );
    };
    asked(&[custom("c", "nowhere", ADMIN)], "ask nobody c/0");
    asked(&[custom("c", "metrics", ADMIN)], "ask nobody c/0");
    // Two providers on one workload; the same one twice is one.
    asked(
        &[
            custom("c", "by-grpc", ADMIN),
            custom("d", "by-http", "[{to: [{operation: {paths: [/x]}}]}]"),
        ],
        "ask nobody c/0",
    );
    asked(
        &[
            custom("c", "by-grpc", ADMIN),
            custom("d", "by-grpc", "[{to: [{operation: {paths: [/x]}}]}]"),
        ],
        "ask by-grpc c/0",
    );
    // What another workload asks is its own business.
    let elsewhere = "{action: CUSTOM, provider: {name: by-http}, rules: [{}]}";
    asked(
        &[
            custom("c", "by-grpc", ADMIN),
            named("d", "elsewhere", elsewhere),
        ],
        "ask by-grpc c/0",
    );
}

#[test]
fn custom_rules_on_tcp_lose_their_http_fields_and_need_grpc() {
    table(
        &with_providers(&[custom("c", "by-grpc", ADMIN)]),
        &[(case(ORDER, "tcp"), "ask by-grpc c/0")],
    );
    table(
        &with_providers(&[custom("c", "by-http", ADMIN)]),
        &[(case(ORDER, "tcp"), "ask nobody c/0")],
    );
    let with_port = "[{to: [{operation: {paths: [/admin], ports: ['9090']}}]}]";
    table(
        &with_providers(&[custom("c", "by-http", with_port)]),
        &[(case(ORDER, "tcp"), "allow")],
    );
}

#[test]
fn custom_rules_read_repeated_headers_as_denials_do() {
    let rules = "[{when: [{key: 'request.headers[x-role]', values: [admin]}]}]";
    let with = |headers| Case {
        headers,
        ..case(NOBODY, "GET /")
    };
    table(
        &with_providers(&[custom("c", "by-http", rules)]),
        &[
            (
                with(&[("x-role", "user"), ("x-role", "admin")]),
                "ask by-http c/0",
            ),
            (with(&[("x-role", "user")]), "allow"),
        ],
    );
}

#[test]
fn audit_notes_and_changes_nothing() {
    let audit = named(
        "a",
        "my-app",
        "{action: AUDIT, rules: [{to: [{operation: {methods: [POST]}}]}, {to: [{operation: {paths: [/x]}}]}]}",
    );
    table(
        &audit,
        &[
            (case(NOBODY, "POST /"), "allow, audit a/0"),
            (case(NOBODY, "GET /x"), "allow, audit a/1"),
            (case(NOBODY, "GET /"), "allow"),
            (case(NOBODY, "tcp"), "allow, audit a/0"),
        ],
    );
    table(
        &[audit, allow("{to: [{operation: {paths: [/x]}}]}")].concat(),
        &[
            (case(NOBODY, "POST /"), "deny, audit a/0"),
            (case(NOBODY, "POST /x"), "allow p/0, audit a/0"),
        ],
    );
}

#[test]
fn audit_without_rules_notes_nothing() {
    table(
        &named("a", "my-app", "{action: AUDIT}"),
        &[(case(NOBODY, "GET /"), "allow")],
    );
}

#[test]
fn rules_are_numbered_over_all_actions_without_gaps() {
    let yaml = with_providers(&[
        tried(&named("e", "my-app", "{rules: [{}]}"), "true"),
        tried(&named("d", "my-app", "{action: DENY, rules: [{}]}"), "1"),
        allow("{to: [{operation: {paths: [/x]}}]}"),
        named("never", "my-app", "{action: DENY, rules: [{}, {}]}"),
        named("a", "my-app", "{action: AUDIT, rules: [{}]}"),
        custom("c", "by-http", ADMIN),
    ]);
    let set = compile(&yaml, &Mesh::default());
    let rules: Vec<_> = set
        .rule_ids()
        .map(|rule| {
            (
                rule.number,
                format!("{} {}", rule.action, rule.policy_name),
                rule.dry_run,
            )
        })
        .collect();
    let expected = [
        (0, "CUSTOM c".to_owned(), false),
        (1, "AUDIT a".to_owned(), false),
        (2, "DENY never".to_owned(), false),
        (3, "DENY never".to_owned(), false),
        (4, "ALLOW p".to_owned(), false),
        (5, "DENY d".to_owned(), true),
        (6, "ALLOW e".to_owned(), true),
    ];
    assert_eq!(rules, expected);
    assert_eq!((set.policies(), set.rules()), (6, 7));
}
