//! A naive evaluator that follows Istio's text to the letter, compared with the compiled one on random policies.
//!
//! 20 000 sets of policies in every run, spread over tests that run side by side; a million by `make test-long`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::wildcard_imports,
    reason = "a failed test is a panic"
)]

mod evaluator;
mod random_policies;
mod random_requests;
mod words;

use std::{collections::BTreeMap, sync::Arc};

use authz::{Ask, Claims, DryRunAllow, Facts, HttpFacts, PolicySet, RuleId};
use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationPolicy, DocumentSet},
    load::load,
    mesh::Mesh,
    source::SourceFile,
    workload::Workload,
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};

use evaluator::{By, Outcome, Subject, reference};
use random_policies::policy;
use random_requests::{Request, request};

/// The mesh has an authorizer that is asked by gRPC and one that is asked by HTTP.
const PROVIDERS: &str = "apiVersion: portcullis.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec:
  extensionProviders:
  - name: grpc
    envoyExtAuthzGrpc: {service: authz.shop.svc.cluster.local, port: 9000}
  - name: http
    envoyExtAuthzHttp: {service: authz.shop.svc.cluster.local, port: 8000}
";

fn mesh() -> Mesh {
    let process = Mesh {
        trust_domain: "td1".to_owned(),
        trust_domain_aliases: vec!["old-td".to_owned()],
        ..Mesh::default()
    };
    let mesh = load(&[SourceFile::new("mesh.yaml", PROVIDERS)], &process).mesh;
    assert_eq!(mesh.extension_providers.len(), 2);
    mesh
}

/// What the compiled policies say.
fn compiled(set: &PolicySet, facts: &Facts<'_>) -> Outcome {
    let by = |rule: &RuleId| (rule.policy_name.to_string(), usize::from(rule.rule));
    let custom = set.custom(facts).map(|custom| {
        let provider = match custom.ask {
            Ask::Provider(name) => Some(name.to_owned()),
            Ask::Nobody => None,
        };
        (Some(by(custom.by)), provider)
    });
    let decision = set.decide(facts);
    Outcome {
        custom,
        allowed: decision.is_allowed(),
        by: decision.by.map(by),
        audit: decision.audit.map(by),
        would_deny: decision.dry_run.deny.map(by),
        would_allow: match decision.dry_run.allow {
            DryRunAllow::Absent => None,
            DryRunAllow::Matched(rule) => Some(Some(by(rule))),
            DryRunAllow::NoneMatched => Some(By::None),
        },
    }
}

/// One case: the same outcome for every request.
fn agree(
    mesh: &Mesh,
    policies: Vec<AuthorizationPolicy>,
    gateway: bool,
    requests: &[Request],
) -> Result<(), TestCaseError> {
    let policies = policies
        .into_iter()
        .enumerate()
        .map(|(number, mut policy)| {
            policy.meta.name = format!("p{number}");
            Arc::new(policy)
        });
    let documents = DocumentSet {
        authorization_policies: policies.collect(),
        ..DocumentSet::default()
    };
    let mut labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    if gateway {
        let label = "gateway.networking.k8s.io/gateway-name";
        labels.insert(label.to_owned(), "edge".to_owned());
    }
    let workload = Workload {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels,
    };
    let (registry, _) = ::policies::check::check(&documents, mesh);
    let findings = authz::check::check(&documents, &registry, mesh);
    let errors: Vec<_> = findings.iter().filter(|found| found.is_error()).collect();
    prop_assert_eq!(errors, Vec::<&Diagnostic>::new());
    let set = PolicySet::compile(&documents, &workload, mesh);
    for request in requests {
        let claims = request
            .payload
            .clone()
            .map(|payload| Claims::new(payload, &[]));
        let http = request.http.as_ref();
        let facts = Facts {
            peer: request.peer.as_ref(),
            source_ip: request.source,
            remote_ip: request.remote,
            destination_ip: request.source,
            destination_port: request.port,
            sni: request.sni,
            http: http.map(|(method, host, path, headers)| HttpFacts {
                method,
                host,
                path,
                headers,
                claims: claims.as_ref(),
            }),
        };
        let subject = Subject {
            facts: &facts,
            payload: request.payload.as_ref(),
        };
        let expected = reference(&documents, &workload, mesh, &subject);
        prop_assert_eq!(compiled(&set, &facts), expected, "{:?}", request);
    }
    Ok(())
}

/// Compares so many random sets of at most so many policies.
#[track_caller]
fn compare(cases: u32, most_policies: usize) {
    let mesh = mesh();
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let sets = (
        vec(policy(), 0..most_policies),
        any::<bool>(),
        vec(request(), 1..8),
    );
    let outcome = TestRunner::new(config).run(&sets, |(policies, gateway, requests)| {
        agree(&mesh, policies, gateway, &requests)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn small_sets_decide_like_the_text() {
    compare(9_500, 5);
}

#[test]
fn other_small_sets_decide_like_the_text() {
    compare(9_500, 5);
}

/// So many rules that the index sorts them by path.
#[test]
fn large_sets_decide_like_the_text() {
    compare(1_000, 40);
}

#[test]
#[ignore = "many minutes: make test-long"]
fn a_million_sets_decide_like_the_text() {
    let sizes = [(480_000, 5), (20_000, 40)];
    std::thread::scope(|scope| {
        for (cases, policies) in sizes.into_iter().chain(sizes) {
            scope.spawn(move || compare(cases, policies));
        }
    });
}
