//! Policies as people write them, and what becomes of requests: golden tables by topic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::{collections::BTreeMap, net::IpAddr};

use authz::{Facts, HttpFacts, PolicySet, Verdict, normalize};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::id::SpiffeId;
use policies::{
    diagnostic::Diagnostic, document::DocumentSet, load::load, mesh::Mesh, source::SourceFile,
    workload::Workload,
};

const ORDER: Option<&str> = Some("cluster.local/ns/my-app/sa/order-service");
const OTHER: Option<&str> = Some("cluster.local/ns/my-app/sa/billing");
const ABROAD: Option<&str> = Some("cluster.local/ns/elsewhere/sa/order-service");
const NOBODY: Option<&str> = None;

/// A request in one line; the rest has defaults.
#[derive(Clone, Copy)]
struct Case {
    peer: Option<&'static str>,
    request: &'static str,
    headers: &'static [(&'static str, &'static str)],
    port: u16,
    source: &'static str,
    remote: &'static str,
    host: &'static str,
    sni: Option<&'static str>,
}

/// `GET /path`, or `tcp`.
const fn case(peer: Option<&'static str>, request: &'static str) -> Case {
    Case {
        peer,
        request,
        headers: &[],
        port: 8080,
        source: "10.0.0.1",
        remote: "10.0.0.1",
        host: "product-service",
        sni: None,
    }
}

fn workload() -> Workload {
    Workload {
        name: "product-service-v1".to_owned(),
        namespace: "my-app".to_owned(),
        service_account: "product-service".to_owned(),
        labels: BTreeMap::from([
            ("app".to_owned(), "product-service".to_owned()),
            ("version".to_owned(), "v1".to_owned()),
        ]),
    }
}

fn findings(documents: &DocumentSet, mesh: &Mesh) -> Vec<Diagnostic> {
    let (registry, _) = policies::check::check(documents, mesh);
    authz::check::check(documents, &registry, mesh)
}

fn compile(yaml: &str, mesh: &Mesh) -> PolicySet {
    let file = SourceFile::new("golden.yaml", yaml);
    let loaded = load(std::slice::from_ref(&file), mesh);
    let findings = [
        loaded.diagnostics.clone(),
        findings(&loaded.documents, mesh),
    ]
    .concat();
    let set = PolicySet::compile(&loaded.documents, &workload(), mesh);
    assert!(
        !findings.iter().any(Diagnostic::is_error),
        "{findings:#?}\n{yaml}"
    );
    set
}

/// The outcome as `allow` or `deny`, with the rule that decided.
fn outcome(set: &PolicySet, case: &Case, mesh: &Mesh) -> String {
    let peer = case
        .peer
        .map(|peer| SpiffeId::parse(&format!("spiffe://{peer}")).unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in case.headers {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let split = case.request.split_once(' ');
    let path = split.map(|(_, path)| normalize(path, mesh.path_normalization).unwrap());
    let http = split.map(|(method, _)| HttpFacts {
        method,
        host: case.host,
        path: path.as_deref().unwrap(),
        headers: &headers,
        claims: None,
    });
    let parse = |address: &str| address.parse::<IpAddr>().unwrap();
    let decision = set.decide(&Facts {
        peer: peer.as_ref(),
        source_ip: parse(case.source),
        remote_ip: parse(case.remote),
        destination_ip: parse("10.0.0.2"),
        destination_port: case.port,
        sni: case.sni,
        http,
    });
    let verdict = match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    };
    match decision.by {
        Some(rule) => format!("{verdict} {}/{}", rule.policy_name, rule.rule),
        None => verdict.to_owned(),
    }
}

#[track_caller]
fn table_in(mesh: &Mesh, yaml: &str, cases: &[(Case, &str)]) {
    let set = compile(yaml, mesh);
    for (case, expected) in cases {
        let actual = outcome(&set, case, mesh);
        assert_eq!(
            &actual, expected,
            "{:?} {} on port {}",
            case.peer, case.request, case.port
        );
    }
}

#[track_caller]
fn table(yaml: &str, cases: &[(Case, &str)]) {
    let mesh = Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    };
    table_in(&mesh, yaml, cases);
}

/// A policy called `p` in `my-app` with this `spec`, in flow style.
fn policy(spec: &str) -> String {
    named("p", "my-app", spec)
}

fn named(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// One ALLOW rule of `p`.
fn allow(rule: &str) -> String {
    policy(&format!("{{rules: [{rule}]}}"))
}

/// One DENY rule of `p`.
fn deny(rule: &str) -> String {
    policy(&format!("{{action: DENY, rules: [{rule}]}}"))
}

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
fn selection_by_namespace_and_labels() {
    let reach = |namespace: &str, selector: &str| {
        named(
            "p",
            namespace,
            &format!("{{{selector} action: DENY, rules: [{{}}]}}"),
        )
    };
    for (namespace, selector, expected) in [
        ("my-app", "", "deny p/0"),
        ("istio-system", "", "deny p/0"),
        ("elsewhere", "", "allow"),
        ("my-app", "selector: {},", "deny p/0"),
        ("my-app", "selector: {matchLabels: {}},", "deny p/0"),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service}},",
            "deny p/0",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service, version: v1}},",
            "deny p/0",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service, version: v2}},",
            "allow",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: Product-service}},",
            "allow",
        ),
        ("my-app", "selector: {matchLabels: {tier: web}},", "allow"),
        (
            "istio-system",
            "selector: {matchLabels: {app: product-service}},",
            "deny p/0",
        ),
        (
            "istio-system",
            "selector: {matchLabels: {app: other}},",
            "allow",
        ),
        (
            "elsewhere",
            "selector: {matchLabels: {app: product-service}},",
            "allow",
        ),
    ] {
        table(
            &reach(namespace, selector),
            &[(case(ORDER, "GET /"), expected)],
        );
    }
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

#[test]
fn hosts_are_judged_with_their_port_and_without_case() {
    let at = |host| Case {
        host,
        ..case(NOBODY, "GET /")
    };
    table(
        &allow("{to: [{operation: {hosts: [Example.com, '*.Shop.example', 'api*']}}]}"),
        &[
            (at("example.com"), "allow p/0"),
            (at("EXAMPLE.COM"), "allow p/0"),
            (at("example.com:8080"), "deny"),
            (at("a.shop.EXAMPLE"), "allow p/0"),
            (at("shop.example"), "deny"),
            (at("API.internal:80"), "allow p/0"),
        ],
    );
    table(
        &allow("{to: [{operation: {hosts: [example.com, 'example.com:*'], notHosts: ['*:9']}}]}"),
        &[
            (at("example.com:8080"), "allow p/0"),
            (at("example.com:9"), "deny"),
            (at("example.com.evil"), "deny"),
        ],
    );
}

#[test]
fn methods_ports_and_paths() {
    table(
        &allow(
            "{to: [{operation: {methods: ['P*'], notMethods: [PATCH], ports: ['8080'], notPaths: [/private*]}}]}",
        ),
        &[
            (case(NOBODY, "POST /"), "allow p/0"),
            (case(NOBODY, "PUT /"), "allow p/0"),
            (case(NOBODY, "PATCH /"), "deny"),
            (case(NOBODY, "GET /"), "deny"),
            (case(NOBODY, "POST /private/x"), "deny"),
            (
                Case {
                    port: 9090,
                    ..case(NOBODY, "POST /")
                },
                "deny",
            ),
        ],
    );
    table(
        &allow("{to: [{operation: {paths: ['*.html', /exact, '/pre/*']}}]}"),
        &[
            (case(NOBODY, "GET /a/b.html"), "allow p/0"),
            (case(NOBODY, "GET /a/b.html?x=.htm"), "allow p/0"),
            (case(NOBODY, "GET /a?x=.html"), "deny"),
            (case(NOBODY, "GET /exact"), "allow p/0"),
            (case(NOBODY, "GET /exact/"), "deny"),
            (case(NOBODY, "GET /Exact"), "deny"),
            (case(NOBODY, "GET /pre/"), "allow p/0"),
            (case(NOBODY, "GET /pre"), "deny"),
        ],
    );
    table(
        &deny("{to: [{operation: {notPorts: ['8080']}}]}"),
        &[
            (case(NOBODY, "tcp"), "allow"),
            (
                Case {
                    port: 1,
                    ..case(NOBODY, "tcp")
                },
                "deny p/0",
            ),
        ],
    );
}

#[test]
fn path_templates() {
    table(
        &allow(
            "{to: [{operation: {paths: ['/users/{*}/profile', '/files/{**}', '/img/{**}/x.png']}}]}",
        ),
        &[
            (case(NOBODY, "GET /users/7/profile"), "allow p/0"),
            (case(NOBODY, "GET /users//profile"), "deny"),
            (case(NOBODY, "GET /users/7/8/profile"), "deny"),
            (case(NOBODY, "GET /files/"), "allow p/0"),
            (case(NOBODY, "GET /files/a/b"), "allow p/0"),
            (case(NOBODY, "GET /files"), "deny"),
            (case(NOBODY, "GET /img/a/b/x.png"), "allow p/0"),
            (case(NOBODY, "GET /users/é/profile"), "deny"),
        ],
    );
    table(
        &deny("{to: [{operation: {paths: ['/users/{*}/profile']}}]}"),
        &[
            (case(NOBODY, "GET /users/é/profile"), "deny p/0"),
            (case(NOBODY, "GET /users/[7]/profile"), "deny p/0"),
        ],
    );
    table(
        &allow("{to: [{operation: {notPaths: ['/users/{*}/profile']}}]}"),
        &[
            (case(NOBODY, "GET /users/é/profile"), "deny"),
            (case(NOBODY, "GET /users/7"), "allow p/0"),
        ],
    );
}

#[test]
fn repeated_headers_neither_open_nor_evade() {
    let with = |headers| Case {
        headers,
        ..case(NOBODY, "GET /")
    };
    let rule = "{when: [{key: 'request.headers[X-Role]', values: [admin]}]}";
    table(
        &allow(rule),
        &[
            (with(&[("x-role", "admin")]), "allow p/0"),
            (
                with(&[("x-role", "admin"), ("x-role", "admin")]),
                "allow p/0",
            ),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "deny"),
            (with(&[("x-role", "Admin")]), "deny"),
            (with(&[]), "deny"),
        ],
    );
    table(
        &deny(rule),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny p/0"),
            (with(&[("x-role", "user")]), "allow"),
        ],
    );
    table(
        &deny("{when: [{key: 'request.headers[x-role]', values: ['user,admin']}]}"),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny p/0"),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "allow"),
        ],
    );
    let unless = "{when: [{key: 'request.headers[x-role]', notValues: [admin]}]}";
    table(
        &deny(unless),
        &[
            (with(&[("x-role", "admin")]), "allow"),
            (with(&[("x-role", "admin"), ("x-role", "user")]), "deny p/0"),
            (with(&[]), "deny p/0"),
        ],
    );
    table(
        &allow(unless),
        &[
            (with(&[("x-role", "user"), ("x-role", "admin")]), "deny"),
            (with(&[("x-role", "user")]), "allow p/0"),
            (with(&[]), "allow p/0"),
        ],
    );
    // The idiom "this header is required"; an empty value is there.
    table(
        &deny("{when: [{key: 'request.headers[x-role]', notValues: ['*']}]}"),
        &[(with(&[]), "deny p/0"), (with(&[("x-role", "")]), "allow")],
    );
}

#[test]
fn other_conditions() {
    table(
        &allow("{when: [{key: destination.port, values: ['8080', '81']}]}"),
        &[
            (case(NOBODY, "tcp"), "allow p/0"),
            (
                Case {
                    port: 80,
                    ..case(NOBODY, "tcp")
                },
                "deny",
            ),
        ],
    );
    let named = |sni| Case {
        sni,
        ..case(NOBODY, "tcp")
    };
    table(
        &allow("{when: [{key: connection.sni, values: ['*.example'], notValues: [b.example]}]}"),
        &[
            (named(Some("a.example")), "allow p/0"),
            (named(Some("b.example")), "deny"),
            (named(None), "deny"),
        ],
    );
    table(
        &allow(
            "{when: [{key: source.namespace, values: [my-app]}, {key: source.serviceAccount, values: [billing]}]}",
        ),
        &[
            (case(OTHER, "GET /"), "allow p/0"),
            (case(ORDER, "GET /"), "deny"),
        ],
    );
    table(
        &allow("{when: [{key: 'request.headers[:authority]', values: [product-service]}]}"),
        &[
            (case(NOBODY, "GET /"), "allow p/0"),
            (
                Case {
                    host: "Product-Service",
                    ..case(NOBODY, "GET /")
                },
                "deny",
            ),
        ],
    );
}

#[test]
fn http_fields_on_tcp() {
    table(
        &allow("{to: [{operation: {ports: ['8080']}}, {operation: {methods: [GET]}}]}"),
        &[
            (case(ORDER, "tcp"), "deny"),
            (case(ORDER, "GET /"), "allow p/0"),
        ],
    );
    table(
        &deny("{to: [{operation: {methods: [POST]}}]}"),
        &[
            (case(ORDER, "tcp"), "deny p/0"),
            (case(ORDER, "GET /"), "allow"),
        ],
    );
    table(
        &deny("{to: [{operation: {methods: [POST], ports: ['9090']}}]}"),
        &[(case(ORDER, "tcp"), "allow")],
    );
    table(
        &allow("{to: [{operation: {ports: ['8080']}}]}"),
        &[(case(ORDER, "tcp"), "allow p/0")],
    );
}

/// What is refused at load: the code, and a part of the message.
#[test]
fn what_cannot_be_honoured_is_refused() {
    let spec = |text: &str| policy(text);
    let mesh = Mesh::default();
    for (yaml, code, part) in [
        (
            spec("{action: CUSTOM, provider: {name: x}, rules: [{}]}"),
            "PC0401",
            "`CUSTOM`",
        ),
        (spec("{action: AUDIT, rules: [{}]}"), "PC0401", "`AUDIT`"),
        (
            allow("{from: [{source: {requestPrincipals: ['*']}}]}"),
            "PC0402",
            "`requestPrincipals`",
        ),
        (
            allow("{from: [{source: {notRequestPrincipals: ['*']}}]}"),
            "PC0402",
            "`notRequestPrincipals`",
        ),
        (
            spec(
                "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g}], rules: [{}]}",
            ),
            "PC0402",
            "targetRefs",
        ),
        (
            allow("{when: [{key: 'request.auth.claims[iss]', values: [x]}]}"),
            "PC0403",
            "request.auth.claims[iss]",
        ),
        (
            allow("{when: [{key: 'experimental.envoy.filters.x[y]', values: [x]}]}"),
            "PC0403",
            "experimental",
        ),
        (
            allow("{when: [{key: Source.ip, values: [10.0.0.1]}]}"),
            "PC0404",
            "`Source.ip`",
        ),
        (
            allow("{when: [{key: request.headers, values: [x]}]}"),
            "PC0404",
            "request.headers",
        ),
        (
            allow("{when: [{key: 'request.headers[:path]', values: [x]}]}"),
            "PC0405",
            ":path",
        ),
        (
            allow("{when: [{key: source.ip, values: [10.0.0]}]}"),
            "PC0405",
            "`10.0.0`",
        ),
        (
            allow("{when: [{key: destination.port, values: [http]}]}"),
            "PC0405",
            "`http`",
        ),
        (
            allow("{to: [{operation: {paths: ['/a{*}']}}]}"),
            "PC0405",
            "`/a{*}`",
        ),
        (
            allow("{to: [{operation: {paths: ['/{**}/{*}']}}]}"),
            "PC0405",
            "`/{**}/{*}`",
        ),
        (
            allow("{from: [{source: {serviceAccounts: ['a/b/c']}}]}"),
            "PC0405",
            "`a/b/c`",
        ),
        (
            allow("{from: [{source: {serviceAccounts: ['a/*']}}]}"),
            "PC0405",
            "`a/*`",
        ),
        (
            allow("{from: [{source: {principals: []}}]}"),
            "PC0115",
            "`principals`",
        ),
        (
            allow("{to: [{operation: {methods: []}}]}"),
            "PC0115",
            "`methods`",
        ),
        (
            allow("{when: [{key: source.ip, values: []}]}"),
            "PC0115",
            "`values`",
        ),
        (allow("{from: []}"), "PC0115", "`from`"),
        (
            allow("{from: [{source: {principals: [], namespaces: [a]}}]}"),
            "PC0115",
            "`principals`",
        ),
        (spec("{action: DENY, rules: []}"), "PC0406", "without rules"),
        (
            allow("{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}"),
            "PC0408",
            "`serviceAccounts`",
        ),
        (
            policy("{rules: [{}]}").replace(
                "{name: p,",
                "{name: p, annotations: {istio.io/dry-run: 'true'},",
            ),
            "PC0407",
            "istio.io/dry-run",
        ),
        (
            policy("{rules: [{}]}").replace(
                "{name: p,",
                "{name: p, annotations: {istio.io/dry-run: 'maybe'},",
            ),
            "PC0407",
            "maybe",
        ),
    ] {
        let file = SourceFile::new("golden.yaml", yaml.as_str());
        let loaded = load(std::slice::from_ref(&file), &mesh);
        let findings = [loaded.diagnostics, findings(&loaded.documents, &mesh)].concat();
        let set = PolicySet::compile(&loaded.documents, &workload(), &mesh);
        let found = findings
            .iter()
            .filter(|finding| finding.is_error())
            .collect::<Vec<_>>();
        let [finding] = found.as_slice() else {
            panic!("expected {code} alone: {found:#?}\n{yaml}")
        };
        assert_eq!(finding.code.to_string(), code, "{finding}");
        assert!(finding.message.contains(part), "{finding}");
        assert!(finding.help.is_some(), "{finding}");
        assert_eq!(&*finding.at.file, "golden.yaml", "{finding}");
        // What the reader refuses is not in the set at all; what this crate refuses closes it.
        if code.starts_with("PC04") {
            let outcome = outcome(&set, &case(ORDER, "GET /"), &mesh);
            assert_eq!(outcome, "deny", "a set with errors denies\n{yaml}");
        }
    }
}

#[test]
fn what_can_never_match_is_a_warning() {
    let mesh = Mesh::default();
    for yaml in [
        allow("{from: [{source: {principals: ['spiffe://cluster.local/ns/a/sa/b']}}]}"),
        allow("{to: [{operation: {paths: ['/a?b']}}]}"),
        allow("{when: [{key: connection.sni, values: [Example.com]}]}"),
    ] {
        let loaded = load(&[SourceFile::new("golden.yaml", yaml.as_str())], &mesh);
        let findings = findings(&loaded.documents, &mesh);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(
            findings
                .iter()
                .all(|finding| !finding.is_error() && finding.code.to_string() == "PC0409")
        );
    }
}
