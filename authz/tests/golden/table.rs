//! Policies as people write them, requests in one line, and the expected outcome.

use std::{collections::BTreeMap, net::IpAddr};

use authz::{
    Ask, Claims, Decision, DryRunAllow, Facts, HttpFacts, PolicySet, RuleId, Verdict, normalize,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::id::SpiffeId;
use policies::{
    diagnostic::Diagnostic, document::DocumentSet, load::load, mesh::Mesh, source::SourceFile,
    workload::Workload,
};
use serde_json::{Map, Value};

pub(crate) const ORDER: Option<&str> = Some("cluster.local/ns/my-app/sa/order-service");
pub(crate) const OTHER: Option<&str> = Some("cluster.local/ns/my-app/sa/billing");
pub(crate) const ABROAD: Option<&str> = Some("cluster.local/ns/elsewhere/sa/order-service");
pub(crate) const NOBODY: Option<&str> = None;

/// A request in one line; the rest has defaults.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) peer: Option<&'static str>,
    pub(crate) request: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) port: u16,
    pub(crate) source: &'static str,
    pub(crate) remote: &'static str,
    pub(crate) host: &'static str,
    pub(crate) sni: Option<&'static str>,
    /// The payload of a verified token, as JSON.
    pub(crate) claims: Option<&'static str>,
}

/// `GET /path`, or `tcp`.
pub(crate) const fn case(peer: Option<&'static str>, request: &'static str) -> Case {
    Case {
        peer,
        request,
        headers: &[],
        port: 8080,
        source: "10.0.0.1",
        remote: "10.0.0.1",
        host: "product-service",
        sni: None,
        claims: None,
    }
}

pub(crate) fn workload() -> Workload {
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

pub(crate) fn findings(documents: &DocumentSet, mesh: &Mesh) -> Vec<Diagnostic> {
    let (registry, _) = policies::check::check(documents, mesh);
    authz::check::check(documents, &registry, mesh)
}

pub(crate) fn compile(yaml: &str, mesh: &Mesh) -> PolicySet {
    compile_for(yaml, mesh, &workload())
}

/// The policies of another workload than [`workload`].
pub(crate) fn compile_for(yaml: &str, mesh: &Mesh, workload: &Workload) -> PolicySet {
    let file = SourceFile::new("golden.yaml", yaml);
    let loaded = load(std::slice::from_ref(&file), mesh);
    let findings = [
        loaded.diagnostics.clone(),
        findings(&loaded.documents, &loaded.mesh),
    ]
    .concat();
    let set = PolicySet::compile(&loaded.documents, workload, &loaded.mesh);
    assert!(
        !findings.iter().any(Diagnostic::is_error),
        "{findings:#?}\n{yaml}"
    );
    set
}

/// The outcome, with the policies and rules that gave it: `allow p/0`, `deny`, or `ask NAME p/0`; behind it what was noted,
/// as in `allow p/0, audit a/0, would deny d/0, would allow e/0` (or `would allow none`).
pub(crate) fn outcome(set: &PolicySet, case: &Case, mesh: &Mesh) -> String {
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
    let claims = case.claims.map(|claims| {
        let payload: Map<String, Value> = serde_json::from_str(claims).unwrap();
        Claims::new(payload, &[])
    });
    let split = case.request.split_once(' ');
    let path = split.map(|(_, path)| normalize(path, mesh.path_normalization).unwrap());
    let http = split.map(|(method, _)| HttpFacts {
        method,
        host: case.host,
        path: path.as_deref().unwrap(),
        headers: &headers,
        claims: claims.as_ref(),
    });
    let parse = |address: &str| address.parse::<IpAddr>().unwrap();
    let facts = Facts {
        peer: peer.as_ref(),
        source_ip: parse(case.source),
        remote_ip: parse(case.remote),
        destination_ip: parse("10.0.0.2"),
        destination_port: case.port,
        sni: case.sni,
        http,
    };
    if let Some(custom) = set.custom(&facts) {
        let who = match custom.ask {
            Ask::Provider(name) => name,
            Ask::Nobody => "nobody",
        };
        return format!("ask {who} {}", short(custom.by));
    }
    written(&set.decide(&facts))
}

fn short(rule: &RuleId) -> String {
    format!("{}/{}", rule.policy_name, rule.rule)
}

fn written(decision: &Decision<'_>) -> String {
    let mut text = match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
    .to_owned();
    if let Some(rule) = decision.by {
        text = format!("{text} {}", short(rule));
    }
    let noted = [
        ("audit", decision.audit.map(short)),
        ("would deny", decision.dry_run.deny.map(short)),
        (
            "would allow",
            match decision.dry_run.allow {
                DryRunAllow::Absent => None,
                DryRunAllow::Matched(rule) => Some(short(rule)),
                DryRunAllow::NoneMatched => Some("none".to_owned()),
            },
        ),
    ];
    for (what, rule) in noted {
        if let Some(rule) = rule {
            text = format!("{text}, {what} {rule}");
        }
    }
    text
}

#[track_caller]
pub(crate) fn table_in(mesh: &Mesh, yaml: &str, cases: &[(Case, &str)]) {
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
pub(crate) fn table(yaml: &str, cases: &[(Case, &str)]) {
    let mesh = Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    };
    table_in(&mesh, yaml, cases);
}

/// A policy called `p` in `my-app` with this `spec`, in flow style.
pub(crate) fn policy(spec: &str) -> String {
    named("p", "my-app", spec)
}

pub(crate) fn named(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// The same policy, tried with `istio.io/dry-run`.
pub(crate) fn tried(policy: &str, value: &str) -> String {
    let annotated = format!("annotations: {{istio.io/dry-run: \"{value}\"}}, namespace:");
    policy.replace("namespace:", &annotated)
}

/// One ALLOW rule of `p`.
pub(crate) fn allow(rule: &str) -> String {
    policy(&format!("{{rules: [{rule}]}}"))
}

/// One DENY rule of `p`.
pub(crate) fn deny(rule: &str) -> String {
    policy(&format!("{{action: DENY, rules: [{rule}]}}"))
}
