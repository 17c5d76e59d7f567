//! What is counted, what is remembered, and what is never shown.

use std::net::{IpAddr, Ipv4Addr};

use authz::HttpFacts;
use http::{HeaderMap, HeaderValue};
use identity::SpiffeId;
use policies::source::SourceFile;
use prometheus::Registry;

use super::*;
use crate::snapshot::Role;
use crate::testing::context;

const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: catalog, namespace: my-app}
spec:
  rules:
    - from: [{source: {principals: [cluster.local/ns/my-app/sa/order]}}]
      to: [{operation: {methods: [GET]}}]
    - when: [{key: 'request.headers[x-token]', values: [s3cr3t]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: my-app}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}
";

pub(super) struct Fixture {
    pub(super) store: PolicyStore,
    pub(super) decisions: Decisions,
    registry: Registry,
    order: SpiffeId,
}

impl Fixture {
    pub(super) fn new(config: &DecisionsConfig) -> Self {
        let registry = Registry::new();
        let store = PolicyStore::fixed(context(Role::Sidecar), &registry).unwrap();
        let decisions = Decisions::new(config, &store, &registry).unwrap();
        let fixture = Self {
            store,
            decisions,
            registry,
            order: crate::testing::id("spiffe://cluster.local/ns/my-app/sa/order"),
        };
        fixture.apply(POLICIES);
        fixture
    }

    pub(super) fn apply(&self, text: &str) {
        let files = vec![SourceFile::new("authz.yaml", text)];
        assert!(
            self.store.apply(Ok(files.into())),
            "{:?}",
            self.store.state().rejected
        );
    }

    /// Judges and records one request of `order`.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &HeaderMap) -> Option<DecisionId> {
        let snapshot = self.store.snapshot().unwrap();
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let facts = Facts {
            peer: Some(&self.order),
            source_ip: here,
            remote_ip: here,
            destination_ip: here,
            destination_port: 8080,
            sni: None,
            http: Some(HttpFacts {
                method,
                host: "catalog",
                path,
                headers,
                claims: None,
            }),
        };
        let decision = snapshot.authz.decide(&facts);
        self.decisions
            .record(&snapshot, &facts, Decided::Policies(decision), true)
    }

    fn last(&self) -> DecisionShown {
        let inner = self.decisions.0.as_ref().unwrap();
        inner.memory.newest_first().first().unwrap().shown()
    }

    fn metric(&self, line: &str) -> Option<String> {
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap();
        text.lines()
            .find_map(|found| found.strip_prefix(line))
            .map(|value| value.trim().to_owned())
    }
}

fn plain() -> HeaderMap {
    HeaderMap::new()
}

/// Remembers nothing but what must be.
pub(super) fn unsampled() -> DecisionsConfig {
    DecisionsConfig {
        sample_allowed: 0.0,
        ..DecisionsConfig::default()
    }
}

#[test]
fn a_denial_is_remembered_and_an_allowance_is_sampled() {
    let fixture = Fixture::new(&unsampled());
    assert_eq!(fixture.ask("GET", "/", &plain()), None);
    let id = fixture.ask("DELETE", "/", &plain()).unwrap();
    let shown = fixture.last();
    assert_eq!(shown.id, id.to_string());
    assert_eq!(shown.verdict, VerdictShown::Deny);
    assert_eq!(shown.reason, ReasonShown::NoRuleMatched);
    assert!(shown.enforced);
    assert_eq!(shown.workload, "my-app/order-service-v1");
    assert_eq!(shown.request.method.as_deref(), Some("DELETE"));

    let all = Fixture::new(&DecisionsConfig {
        sample_allowed: 1.0,
        ..DecisionsConfig::default()
    });
    assert!(all.ask("GET", "/", &plain()).is_some());
    assert_eq!(
        all.last().rule.unwrap().to_string(),
        "my-app/catalog rules[0]"
    );
}

#[test]
fn the_memory_is_bounded_by_number_and_by_size() {
    let fixture = Fixture::new(&DecisionsConfig {
        buffer: 3,
        ..unsampled()
    });
    let ids: Vec<_> = (0..5)
        .map(|_| fixture.ask("DELETE", "/", &plain()).unwrap())
        .collect();
    let memory = &fixture.decisions.0.as_ref().unwrap().memory;
    assert_eq!(memory.newest_first().len(), 3);
    assert!(memory.find(ids[0]).is_none());
    assert!(memory.find(ids[4]).is_some());
    let long = format!("/{}", "ü".repeat(4000));
    fixture.ask("DELETE", &long, &plain()).unwrap();
    let shown = fixture.last();
    assert!(shown.cut);
    assert!(shown.request.path.unwrap().len() <= 4096);
}

#[test]
fn credentials_and_unnamed_headers_are_not_shown() {
    let fixture = Fixture::new(&unsampled());
    let mut headers = plain();
    headers.insert("x-token", HeaderValue::from_static("hunter2"));
    headers.insert("x-other", HeaderValue::from_static("nobody-asks"));
    fixture.ask("DELETE", "/", &headers).unwrap();
    let text = serde_json::to_string(&fixture.last()).unwrap();
    assert!(text.contains("x-token"), "{text}");
    assert!(
        !text.contains("hunter2") && !text.contains("nobody-asks"),
        "{text}"
    );
    // It is judged again all the same.
    headers.insert("x-token", HeaderValue::from_static("s3cr3t"));
    assert_eq!(fixture.ask("DELETE", "/", &headers), None);
}

#[test]
fn counters_live_as_long_as_their_rule() {
    let fixture = Fixture::new(&unsampled());
    fixture.ask("GET", "/", &plain());
    fixture.ask("GET", "/admin", &plain());
    let hits = |policy: &str, action: &str| {
        fixture.metric(&format!(
            "portcullis_authz_rule_hits_total{{action=\"{action}\",namespace=\"my-app\",policy=\"{policy}\",rule=\"0\"}}"
        ))
    };
    assert_eq!(hits("catalog", "ALLOW").as_deref(), Some("1"));
    assert_eq!(hits("no-admin", "DENY").as_deref(), Some("1"));
    // Another generation, with a policy before the others: numbers move, counters do not.
    let more = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: also, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/secret]}}]}]}
---";
    fixture.apply(&format!("{more}{POLICIES}"));
    fixture.ask("GET", "/admin", &plain());
    assert_eq!(hits("no-admin", "DENY").as_deref(), Some("2"));
    assert_eq!(
        fixture
            .metric(
                "portcullis_authz_rule_denials_total{action=\"DENY\",namespace=\"my-app\",policy=\"no-admin\",rule=\"0\"}"
            )
            .as_deref(),
        Some("2")
    );
    // A rule that nobody used has no series.
    assert_eq!(hits("also", "DENY"), None);
    assert_eq!(
        fixture
            .metric("portcullis_authz_denials_total{by=\"rule\",enforced=\"true\"}")
            .as_deref(),
        Some("2")
    );
}

#[test]
fn old_generations_are_let_go() {
    let fixture = Fixture::new(&unsampled());
    let first = fixture.ask("DELETE", "/", &plain()).unwrap();
    let memory = &fixture.decisions.0.as_ref().unwrap().memory;
    let is_held = || memory.find(first).unwrap().generation.upgrade().is_some();
    for round in 0..8 {
        assert!(is_held(), "{round}");
        fixture.apply(&format!("# {round}\n{POLICIES}"));
        fixture.ask("DELETE", "/", &plain());
    }
    assert!(!is_held());
}

#[test]
fn the_log_has_a_line_for_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("decisions.log");
    let fixture = Fixture::new(&DecisionsConfig {
        log: Some(path.clone()),
        ..unsampled()
    });
    let id = fixture.ask("DELETE", "/x\u{202e}", &plain()).unwrap();
    fixture.ask("GET", "/", &plain());
    fixture.decisions.flush(Duration::from_secs(5));
    let text = std::fs::read_to_string(path).unwrap();
    let line: DecisionShown = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line.id, id.to_string());
    assert_eq!(line, fixture.last());
    assert!(!text.contains('\u{202e}'));
}
