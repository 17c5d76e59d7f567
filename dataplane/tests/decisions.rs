//! A plain allowance is counted without asking for memory.

#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use allocations::counted;
use authz::{Facts, HttpFacts};
use dataplane::decisions::{Decided, Decisions, DecisionsConfig};
use dataplane::{PolicyStore, ProxyContext, Role};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use prometheus::Registry;

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: catalog, namespace: my-app}
spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
";

#[test]
fn a_plain_allowance_allocates_nothing() {
    let context = ProxyContext {
        mesh: Mesh::default(),
        workload: Workload {
            name: "catalog".to_owned(),
            namespace: "my-app".to_owned(),
            service_account: "catalog".to_owned(),
            labels: BTreeMap::new(),
        },
        role: Role::Sidecar,
        credentials: None,
        resolver: dataplane::resolve::Resolver::default(),
    };
    let registry = Registry::new();
    let store = PolicyStore::fixed(context, &registry).unwrap();
    let config = DecisionsConfig {
        sample_allowed: 0.0,
        ..DecisionsConfig::default()
    };
    let decisions = Decisions::new(&config, &store, &registry).unwrap();
    let files = vec![SourceFile::new("authz.yaml", POLICIES)];
    assert!(store.apply(Ok(files.into())));
    let snapshot = store.snapshot().unwrap();
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let headers = http::HeaderMap::new();
    let facts = Facts {
        peer: None,
        source_ip: here,
        remote_ip: here,
        destination_ip: here,
        destination_port: 8080,
        sni: None,
        http: Some(HttpFacts {
            method: "GET",
            host: "catalog",
            path: "/",
            headers: &headers,
            claims: None,
        }),
    };
    let ((), allocations) = counted(|| {
        for _ in 0..100 {
            let decided = Decided::Policies(snapshot.authz.decide(&facts));
            assert!(decisions.record(&snapshot, &facts, decided, true).is_none());
        }
    });
    assert_eq!(allocations, 0);
    let rule = snapshot.authz.rule_ids().next().unwrap();
    let counts = snapshot.uses.of(rule).unwrap().counts().unwrap();
    assert_eq!((counts.hits, counts.denials), (100, 0));
}
