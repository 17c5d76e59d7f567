//! PolicyTest: the format to the letter, its defaults, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::sync::Arc;

use policies::diagnostic::Diagnostic;
use policies::document::PolicyTest;
use policies::document::mesh_config::provider::ProviderKind;
use policies::document::policy_test::{
    Caller, Outcome, ProviderAnswer, TestMesh, TestProtocol, TestRequest,
};
use policies::load::{load, load_with_test, policy_tests};
use policies::mesh::{Mesh, PathNormalization};
use policies::source::SourceFile;

const WHOLE: &str = r#"
apiVersion: portcullis.dev/v1
kind: PolicyTest
metadata: {name: catalog}
spec:
  mesh: {trustDomain: cluster.local, trustDomainAliases: [], rootNamespace: istio-system, pathNormalization: BASE, extensionProviders: [{name: my-authz, type: http}]}
  policies: [../policies/*.yaml]
  documents: []
  workload: {namespace: shop, labels: {app: catalog}, serviceAccount: catalog}
  cases:
    - name: order may read
      request:
        protocol: http
        mtls: true
        principal: cluster.local/ns/shop/sa/order
        sourceIp: 10.0.0.1
        remoteIp: 10.0.0.3
        destinationIp: 10.0.0.2
        destinationPort: 8080
        sni: outbound_.8080_._.catalog.shop.svc.cluster.local
        method: GET
        host: catalog.shop.svc.cluster.local
        path: /api/products/1?x=y
        headers: {x-role: [user, admin], x-one: a}
        claims: {iss: https://issuer.example, sub: alice, groups: [a, b], level: 3, flag: true, none: null, "quoted": "7"}
        provider: allow
      expect: allow
      by: catalog-read/rules[0]
  matrix:
    principals: [cluster.local/ns/shop/sa/order, anonymous, plaintext]
    operations: ["GET /x", {name: write, method: PUT, path: /x, headers: {x-a: b}}, {protocol: tcp, destinationPort: 3306}]
    golden: catalog.txt
"#;

fn read(text: &str) -> (Vec<Arc<PolicyTest>>, Vec<Diagnostic>) {
    policy_tests(&SourceFile::new("test.yaml", text))
}

/// A test with these cases.
fn one(case: &str) -> (Vec<Arc<PolicyTest>>, Vec<Diagnostic>) {
    read(&format!(
        "apiVersion: portcullis.dev/v1\nkind: PolicyTest\nmetadata: {{name: a}}\n\
         spec: {{workload: {{namespace: shop}}, cases: [{case}]}}\n"
    ))
}

#[test]
fn every_field_of_the_format_is_read() {
    let (tests, findings) = read(WHOLE);
    assert!(!findings.iter().any(Diagnostic::is_error), "{findings:?}");
    let [test] = tests.as_slice() else {
        panic!("{tests:?}")
    };
    assert_eq!(
        test.meta.namespace, "",
        "a test that names no namespace has none"
    );
    assert_eq!(test.mesh.trust_domain.as_deref(), Some("cluster.local"));
    assert_eq!(test.mesh.trust_domain_aliases, Some(Vec::new()));
    assert_eq!(test.mesh.root_namespace.as_deref(), Some("istio-system"));
    assert_eq!(test.mesh.path_normalization, Some(PathNormalization::Base));
    let providers = test.mesh.extension_providers.as_ref().unwrap();
    assert_eq!(providers[0].name.value, "my-authz");
    assert!(matches!(providers[0].kind, ProviderKind::ExtAuthzHttp(_)));
    assert_eq!(test.policies[0].value, "../policies/*.yaml");
    assert_eq!(test.workload.labels["app"], "catalog");
    assert_eq!(test.workload.service_account, "catalog");
    let case = &test.cases[0];
    assert_eq!(case.expect.value, Outcome::Allow);
    assert_eq!(
        case.by.as_ref().unwrap().to_string(),
        "catalog-read/rules[0]"
    );
    let TestRequest {
        protocol,
        mtls,
        principal,
        source_ip,
        remote_ip,
        destination_ip,
        destination_port,
        sni,
        method,
        host,
        path,
        headers,
        claims,
        provider,
    } = &case.request;
    assert_eq!(*protocol, TestProtocol::Http);
    assert_eq!(*mtls, Some(true));
    assert_eq!(
        principal.as_ref().unwrap().value,
        "cluster.local/ns/shop/sa/order"
    );
    let addresses = [source_ip, remote_ip, destination_ip].map(ToString::to_string);
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.3", "10.0.0.2"]);
    assert_eq!(*destination_port, 8080);
    assert_eq!(
        sni.as_deref(),
        Some("outbound_.8080_._.catalog.shop.svc.cluster.local")
    );
    assert_eq!(
        (method.as_str(), host.as_str()),
        ("GET", "catalog.shop.svc.cluster.local")
    );
    assert_eq!(path, "/api/products/1?x=y");
    let roles: Vec<_> = headers.get_all("x-role").iter().collect();
    assert_eq!(roles, ["user", "admin"]);
    assert_eq!(headers["x-one"], "a");
    let claims = serde_json::Value::Object(claims.clone().unwrap());
    let expected = serde_json::json!({
        "iss": "https://issuer.example", "sub": "alice", "groups": ["a", "b"], "level": 3, "flag": true, "none": null,
        "quoted": "7",
    });
    assert_eq!(claims, expected);
    assert_eq!(*provider, Some(ProviderAnswer::Allow));
    let matrix = test.matrix.as_ref().unwrap();
    let callers: Vec<&Caller> = matrix.callers.iter().map(|caller| &caller.value).collect();
    assert!(matches!(
        callers[..],
        [Caller::Principal(_), Caller::Anonymous, Caller::Plaintext]
    ));
    let names: Vec<&str> = matrix
        .operations
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["GET /x", "write", "tcp :3306"]);
}

#[test]
fn every_field_of_a_request_may_be_missing() {
    let (tests, findings) =
        one("{name: a, expect: deny}, {name: b, request: {protocol: grpc}, expect: deny}");
    assert!(!findings.iter().any(Diagnostic::is_error), "{findings:?}");
    let test = &tests[0];
    assert_eq!(test.mesh, TestMesh::default());
    assert_eq!(test.workload.service_account, "default");
    let request = &test.cases[0].request;
    assert_eq!(request.mtls, None);
    assert_eq!(request.source_ip.to_string(), "192.0.2.1");
    assert_eq!(request.remote_ip, request.source_ip);
    assert_eq!(
        (request.method.as_str(), request.host.as_str()),
        ("GET", "localhost")
    );
    assert_eq!(
        (request.path.as_str(), request.destination_port),
        ("/", 8080)
    );
    let grpc = &test.cases[1].request;
    assert_eq!(grpc.method, "POST");
    assert_eq!(grpc.headers["content-type"], "application/grpc");
}

#[test]
fn the_remote_address_is_the_source_unless_it_is_given() {
    let (tests, _) = one("{name: a, request: {sourceIp: 10.0.0.1}, expect: deny}");
    assert_eq!(tests[0].cases[0].request.remote_ip.to_string(), "10.0.0.1");
}

#[test]
fn nothing_that_the_format_defines_is_guessed() {
    for (case, code) in [
        ("{expect: allow}", "PC0108"),
        ("{name: a}", "PC0108"),
        ("{name: a, expect: Allow}", "PC0110"),
        ("{name: a, expect: denied}", "PC0110"),
        ("{name: a, expect: allow, by: \"x/rules[a]\"}", "PC0111"),
        ("{name: a, expect: allow, by: \"x/y/z/rules[0]\"}", "PC0111"),
        ("{name: a, expect: allow, wants: x}", "PC0107"),
        ("{name: a, expect: allow, request: {pricipal: x}}", "PC0107"),
        (
            "{name: a, expect: allow, request: {protocol: udp}}",
            "PC0110",
        ),
        (
            "{name: a, expect: allow, request: {mtls: \"true\"}}",
            "PC0109",
        ),
        (
            "{name: a, expect: allow, request: {principal: \"spiffe://td/ns/a/sa/b\"}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {principal: order}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {sourceIp: 10.0.0.0/8}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {destinationPort: 0}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {destinationPort: \"80\"}}",
            "PC0109",
        ),
        (
            "{name: a, expect: allow, request: {method: \"GET /\"}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {path: \"/a b\"}}",
            "PC0111",
        ),
        ("{name: a, expect: allow, request: {path: \"\"}}", "PC0111"),
        (
            "{name: a, expect: allow, request: {headers: {\"a b\": c}}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {headers: {host: c}}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {headers: {x-a: 1}}}",
            "PC0109",
        ),
        (
            "{name: a, expect: allow, request: {headers: {x-a: [b, 1]}}}",
            "PC0109",
        ),
        ("{name: a, expect: allow, request: {claims: [a]}}", "PC0109"),
        (
            "{name: a, expect: allow, request: {claims: {admin: yes}}}",
            "PC0111",
        ),
        (
            "{name: a, expect: allow, request: {provider: custom}}",
            "PC0110",
        ),
        (
            "{name: a, expect: allow, request: {protocol: grpc, method: GET}}",
            "PC0111",
        ),
    ] {
        let (tests, findings) = one(case);
        let codes: Vec<String> = findings
            .iter()
            .filter(|finding| finding.is_error())
            .map(|finding| finding.code.to_string())
            .collect();
        assert_eq!(codes, [code], "{case}: {findings:?}");
        assert!(tests.is_empty(), "{case}");
    }
}

#[test]
fn what_tcp_does_not_have_is_pointed_out() {
    for (field, value) in [("path", "/"), ("claims", "{iss: a}"), ("method", "GET")] {
        let (tests, findings) = one(&format!(
            "{{name: a, expect: allow, request: {{protocol: tcp, {field}: {value}}}}}"
        ));
        assert_eq!(tests.len(), 1, "{findings:?}");
        let told = findings
            .iter()
            .find(|finding| finding.code.to_string() == "PC0124");
        assert!(
            told.is_some_and(|finding| !finding.is_error()),
            "{findings:?}"
        );
    }
}

#[test]
fn a_test_tests_something() {
    for (spec, code) in [
        ("{workload: {namespace: a}}", "PC0108"),
        ("{workload: {namespace: a}, cases: []}", "PC0115"),
        ("{workload: {}, cases: [{name: a, expect: deny}]}", "PC0108"),
        ("{cases: [{name: a, expect: deny}]}", "PC0108"),
        (
            "{workload: {namespace: a}, matrix: {principals: [], operations: [\"GET /\"], golden: a}}",
            "PC0115",
        ),
        (
            "{workload: {namespace: a}, matrix: {principals: [anonymous], operations: [GET], golden: a}}",
            "PC0111",
        ),
        (
            "{workload: {namespace: a}, matrix: {principals: [anonymous], operations: [\"GET /\"]}}",
            "PC0108",
        ),
        (
            "{workload: {namespace: a}, matrix: {principals: [anonymous, anonymous], operations: [\"GET /\"], golden: a}}",
            "PC0120",
        ),
        (
            "{workload: {namespace: a}, matrix: {principals: [anonymous], operations: [{path: /, mtls: true}], golden: a}}",
            "PC0107",
        ),
        (
            "{workload: {namespace: a}, mesh: {pathNormalization: DEFAULT2}, cases: [{name: a, expect: deny}]}",
            "PC0110",
        ),
        (
            "{workload: {namespace: a}, mesh: {extensionProviders: [{name: x}]}, cases: [{name: a, expect: deny}]}",
            "PC0108",
        ),
        (
            "{workload: {namespace: a}, documents: [text], cases: [{name: a, expect: deny}]}",
            "PC0109",
        ),
    ] {
        let (_, findings) = read(&format!(
            "apiVersion: portcullis.dev/v1\nkind: PolicyTest\nmetadata: {{name: a}}\nspec: {spec}\n"
        ));
        let errors: Vec<&Diagnostic> = findings.iter().filter(|f| f.is_error()).collect();
        let codes: Vec<String> = errors.iter().map(|error| error.code.to_string()).collect();
        assert_eq!(codes, [code], "{spec}: {errors:?}");
    }
}

#[test]
fn among_policies_a_test_is_an_information() {
    let loaded = load(&[SourceFile::new("test.yaml", WHOLE)], &Mesh::default());
    let codes: Vec<String> = loaded
        .diagnostics
        .iter()
        .map(|f| f.code.to_string())
        .collect();
    assert_eq!(codes, ["PC0260"], "{:?}", loaded.diagnostics);
    assert!(!loaded.has_errors());
}

#[test]
fn inline_documents_are_read_for_the_test_with_their_places_and_are_nobody_elses() {
    let text = "apiVersion: portcullis.dev/v1\nkind: PolicyTest\nmetadata: {name: a}\nspec:\n  workload: {namespace: shop}\n  \
                documents:\n    - apiVersion: security.istio.io/v1\n      kind: AuthorizationPolicy\n      metadata: {name: p}\n      \
                spec: {acton: DENY}\n  cases: [{name: a, expect: deny}]\n";
    let file = SourceFile::new("test.yaml", text);
    let (tests, findings) = policy_tests(&file);
    assert!(!findings.iter().any(Diagnostic::is_error), "{findings:?}");
    let mesh = Mesh {
        default_namespace: "shop".to_owned(),
        ..Mesh::default()
    };
    let loaded = load_with_test(&[], &file, &tests[0], &mesh);
    let [finding] = loaded.diagnostics.as_slice() else {
        panic!("{:?}", loaded.diagnostics)
    };
    assert_eq!(
        (finding.code.to_string().as_str(), finding.at.line),
        ("PC0107", 10)
    );

    let good = text.replace("acton", "action").replace("DENY", "ALLOW");
    let file = SourceFile::new("test.yaml", good);
    let (tests, _) = policy_tests(&file);
    let loaded = load_with_test(&[], &file, &tests[0], &mesh);
    assert_eq!(
        loaded.documents.authorization_policies[0].meta.namespace,
        "shop"
    );
    let loaded = load(&[file], &mesh);
    assert!(loaded.documents.authorization_policies.is_empty());
}
