//! A decision allocates nothing, whatever the rules look at.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use allocations::counted;
use authz::{Claims, Facts, HttpFacts, PolicySet, Verdict};
use http::HeaderMap;
use identity::SpiffeId;
use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};

#[path = "../benches/mix.rs"]
mod mix;

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

const POLICIES: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: never, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {notNamespaces: [shop, web], notIpBlocks: [10.0.0.0/8], notPrincipals: ['*/sa/web']}}]
    to: [{operation: {notPaths: [/public*, '/a/{*}/b'], notMethods: [GET], notHosts: ['*.example.com']}}]
  - when:
    - {key: 'request.headers[x-blocked]', values: ['*']}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/web/sa/web], remoteIpBlocks: [127.0.0.0/8]}}]
    to: [{operation: {paths: ['/items/{*}/parts/{**}', /items, '*.json'], methods: [GET, HEAD], ports: ['8080']}}]
    when:
    - {key: 'request.headers[x-tenant]', values: [one, 'two*']}
    - {key: source.namespace, values: [web]}
    - {key: connection.sni, notValues: ['*.other']}
";

#[test]
fn deciding_allocates_nothing() {
    let mesh = Mesh::default();
    let workload = Workload {
        name: "items".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "items".to_owned(),
        labels: BTreeMap::new(),
    };
    let loaded = load(&[SourceFile::new("policies.yaml", POLICIES)], &mesh);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let policies = PolicySet::compile(&loaded.documents, &workload, &mesh);
    assert_eq!((policies.policies(), policies.rules()), (2, 3));
    let peer = SpiffeId::parse("spiffe://cluster.local/ns/web/sa/web").unwrap();
    let mut headers = HeaderMap::new();
    headers.append("x-tenant", "one".parse().unwrap());
    headers.append("x-tenant", "two-b".parse().unwrap());
    let mut blocked = headers.clone();
    blocked.insert("x-blocked", "yes".parse().unwrap());
    let allow = Some((Verdict::Allow, Some("some")));
    for (peer, path, headers, expected) in [
        (Some(&peer), "/items/7/parts/a/b", &headers, allow),
        (Some(&peer), "/items.json", &headers, allow),
        (
            Some(&peer),
            "/elsewhere",
            &headers,
            Some((Verdict::Deny, None)),
        ),
        (
            Some(&peer),
            "/items",
            &blocked,
            Some((Verdict::Deny, Some("never"))),
        ),
        (None, "/items", &headers, None),
    ] {
        let facts = Facts {
            peer,
            source_ip: Ipv4Addr::LOCALHOST.into(),
            remote_ip: Ipv4Addr::LOCALHOST.into(),
            destination_ip: Ipv4Addr::LOCALHOST.into(),
            destination_port: 8080,
            sni: Some("items.shop"),
            http: Some(HttpFacts {
                method: "GET",
                host: "items.example.com",
                path,
                headers,
                claims: None,
            }),
        };
        let (decision, count) = counted(|| policies.decide(&facts));
        assert_eq!(count, 0, "{path}");
        let by = decision.by.as_ref().map(|rule| &*rule.policy_name);
        match expected {
            Some(expected) => assert_eq!((decision.verdict, by), expected, "{path}"),
            None => assert_eq!(decision.verdict, Verdict::Deny, "{path}"),
        }
    }
}

/// A thousand rules of the published mix beside CUSTOM, AUDIT and policies in dry run, so that every look-up is made.
#[test]
fn finding_a_rule_among_many_allocates_nothing() {
    let mesh = Mesh::default();
    let workload = Workload {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels: BTreeMap::new(),
    };
    let mut files = mix::files(1_000);
    for (name, meta, spec) in [
        (
            "custom",
            "",
            "{action: CUSTOM, provider: {name: x}, rules: [{to: [{operation: {hosts: [Ask.Example]}}]}]}",
        ),
        (
            "audit",
            "",
            "{action: AUDIT, rules: [{from: [{source: {namespaces: [team-1], requestPrincipals: [i/s]}}]}]}",
        ),
        (
            "no",
            ", annotations: {istio.io/dry-run: 'true'}",
            "{action: DENY, rules: [{from: [{source: {serviceAccounts: [team-1/x]}}]}]}",
        ),
        (
            "yes",
            ", annotations: {istio.io/dry-run: 'true'}",
            "{rules: [{when: [{key: request.auth.principal, values: ['i/*']}]}]}",
        ),
    ] {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: {name:?}, namespace: shop{meta}}}\nspec: {spec}\n"
        );
        files.push((format!("{name}.yaml"), text));
    }
    let files: Vec<_> = files
        .into_iter()
        .map(|(name, text)| SourceFile::new(name, text))
        .collect();
    let loaded = load(&files, &mesh);
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    let policies = PolicySet::compile(&loaded.documents, &workload, &mesh);
    assert_eq!(policies.rules(), 1_004);
    let peer = SpiffeId::parse(&format!("spiffe://{}", mix::caller(5, 1_000))).unwrap();
    let odd = SpiffeId::parse("spiffe://cluster.local/host/one").unwrap();
    let payload = serde_json::json!({"iss": "i", "sub": "s", "groups": ["a", "group-999"]});
    let claims = Claims::new(payload.as_object().unwrap().clone(), &[]);
    let mut headers = HeaderMap::new();
    headers.append("x-tenant", "none".parse().unwrap());
    headers.append("x-tenant", "tenant-19".parse().unwrap());
    for peer in [Some(&peer), Some(&odd), None] {
        for path in [
            "/api-5/x",
            "/tenants/a/orders-16/b/items-16",
            "/a/export-17.csv",
            "/shared-18/x",
            "/none",
        ] {
            for claims in [Some(&claims), None] {
                for http in [true, false] {
                    let facts = Facts {
                        peer,
                        source_ip: Ipv4Addr::LOCALHOST.into(),
                        remote_ip: Ipv4Addr::LOCALHOST.into(),
                        destination_ip: Ipv4Addr::LOCALHOST.into(),
                        destination_port: 8080,
                        sni: None,
                        http: http.then_some(HttpFacts {
                            method: "GET",
                            host: "ASK.example",
                            path,
                            headers: &headers,
                            claims,
                        }),
                    };
                    let (_, count) = counted(|| (policies.custom(&facts), policies.decide(&facts)));
                    assert_eq!(count, 0, "{facts:?}");
                }
            }
        }
    }
}
