//! A decision allocates nothing, whatever the rules look at.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use allocations::counted;
use authz::{Facts, HttpFacts, PolicySet, Verdict};
use http::HeaderMap;
use identity::SpiffeId;
use policies::{load::load, mesh::Mesh, source::SourceFile, workload::Workload};

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
