//! Whether every destination has endpoints that can be verified, whoever the client is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ports::Target;
use super::views::{View, Views};

use crate::cluster::{ClusterKey, Effective, Transport, transport};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Spanned, Subset};
use crate::mesh::Mesh;
use crate::registry::{Registry, ServiceEndpoint};
use crate::route::is_bound_to_mesh;

/// Checks every target of every proxy.
pub(super) fn check(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    targets: &[Target<'_>],
    found: &mut Vec<Diagnostic>,
) {
    let rules = Views::new(documents, registry, mesh);
    let mut views: HashMap<&str, Vec<View<'_>>> = HashMap::new();
    let mut done: HashSet<(&str, u16, Option<&str>)> = HashSet::new();
    for target in targets {
        let service = target.service;
        let views = views
            .entry(&service.host)
            .or_insert_with(|| rules.of(service));
        if let Some(subset) = target.subset {
            hidden(target, subset, views, found);
        }
        let name = target.subset.map(|subset| subset.as_str());
        // Several documents may lead to one cluster.
        if !done.insert((&service.host, target.port.number, name)) {
            continue;
        }
        for view in views.iter() {
            match name.map(|name| view.subset(name)) {
                None => cluster(target, None, view, found),
                Some(Some(subset)) => cluster(target, Some(subset), view, found),
                // It has been reported.
                Some(None) => {}
            }
        }
    }
}

/// What one view makes of a target.
fn cluster(
    target: &Target<'_>,
    subset: Option<&Subset>,
    view: &View<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let Target { service, port, .. } = target;
    let endpoints: Vec<&ServiceEndpoint> = service
        .endpoints
        .iter()
        .filter(|endpoint| subset.is_none_or(|subset| belongs(endpoint, subset)))
        .collect();
    let key = || ClusterKey {
        host: Arc::clone(&service.host),
        port: port.number,
        subset: subset.map(|subset| subset.name.as_str().into()),
    };
    if endpoints.is_empty() {
        found.push(no_endpoints(&key(), target, subset));
        return;
    }
    let own = subset.map(|subset| &subset.traffic_policy);
    let rule = Effective::layered(view.policy(), own, port.number).tls;
    let nameless = |endpoint: &&&ServiceEndpoint| endpoint.endpoint.expected.is_none();
    let any_named = endpoints.iter().any(|endpoint| !nameless(&endpoint));
    let names = &service.subject_alt_names;
    match transport(rule.map(|rule| rule.mode), any_named) {
        Transport::Tls => return,
        Transport::Plaintext => {
            found.extend(names.first().map(|name| without_tls(name, &key())));
            return;
        }
        Transport::Mesh => found.extend(names.iter().find_map(not_a_spiffe_id)),
    }
    // Names that a document gives stand for those of service accounts.
    if !names.is_empty() || rule.is_some_and(|rule| !rule.subject_alt_names.is_empty()) {
        return;
    }
    for endpoint in endpoints.iter().filter(nameless) {
        let message = format!(
            "`{}` is reached by mTLS, but this endpoint has no identity to verify",
            key()
        );
        let at = endpoint.endpoint.at.clone();
        let help = "give it a `serviceAccount`, or say `tls: {mode: DISABLE}` in a DestinationRule";
        let diagnostic = Diagnostic::error(codes::UNVERIFIABLE_ENDPOINT, at, "", message);
        found.push(diagnostic.with_help(help));
    }
}

/// A name that would have to be proved, where nothing is.
fn without_tls(name: &Spanned<String>, key: &ClusterKey) -> Diagnostic {
    let message =
        format!("`{key}` is reached without TLS, so that no server proves to be `{name}`");
    let help = "say `tls: {mode: SIMPLE}` in a DestinationRule, or leave `subjectAltNames` out";
    Diagnostic::error(
        codes::NAMES_WITHOUT_TLS,
        name.at.clone(),
        &name.path,
        message,
    )
    .with_help(help)
}

fn not_a_spiffe_id(name: &Spanned<String>) -> Option<Diagnostic> {
    if name.starts_with("spiffe://") {
        return None;
    }
    let message =
        format!("`{name}` is not a SPIFFE ID, and the mesh's endpoints have no other names");
    let help = "write `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`";
    let (at, path) = (name.at.clone(), &name.path);
    Some(Diagnostic::error(codes::INVALID_VALUE, at, path, message).with_help(help))
}

fn belongs(endpoint: &ServiceEndpoint, subset: &Subset) -> bool {
    let labels = &endpoint.endpoint.labels;
    subset
        .labels
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

fn no_endpoints(key: &ClusterKey, target: &Target<'_>, subset: Option<&Subset>) -> Diagnostic {
    let Target { service, port, .. } = target;
    let at = subset.map_or(&service.at, |subset| &subset.name.at).clone();
    let path = subset
        .map(|subset| subset.name.path.to_string())
        .unwrap_or_default();
    let effect = if port.protocol.is_http() {
        "requests are answered with 503"
    } else {
        "connections are closed"
    };
    let message = format!("no endpoint belongs to `{key}`: {effect}");
    if service.selects {
        // No mistake: a sidecar may say so at any time.
        let help = "start a workload that registers with the labels that the ServiceEntry and the subset select, or \
                    write a WorkloadEntry";
        return Diagnostic::info(codes::NO_ENDPOINTS, at, path, message).with_help(help);
    }
    let help = match subset {
        Some(_) => "give endpoints of the service the labels of the subset",
        None => "list `endpoints`, or select workloads by `workloadSelector`",
    };
    Diagnostic::warning(codes::NO_ENDPOINTS, at, path, message).with_help(help)
}

/// A subset that some clients see and others do not.
fn hidden(
    target: &Target<'_>,
    name: &Spanned<String>,
    views: &[View<'_>],
    found: &mut Vec<Diagnostic>,
) {
    let Some(definition) = views.iter().find_map(|view| view.subset(name)) else {
        // Nobody sees it: reported as unknown.
        return;
    };
    let in_mesh = target.document.is_some_and(is_bound_to_mesh);
    for view in views.iter().filter(|view| view.subset(name).is_none()) {
        let who = match &view.namespace {
            // Where the workload of a gateway lives is not known.
            Some(_) if !in_mesh => continue,
            Some(namespace) => format!("clients of namespace `{namespace}`"),
            None => "clients of other namespaces".to_owned(),
        };
        let why = match view.rules().first() {
            Some(rule) => format!("follow {} at {}", rule.meta, rule.meta.at),
            None => "follow no DestinationRule for the host".to_owned(),
        };
        let message = format!(
            "the subset `{name}` is defined at {}, but {who} {why}: their requests are answered with 503",
            definition.name.at
        );
        let help = format!(
            "define it in a DestinationRule of namespace `{}`, which all clients see, or in their own",
            target.service.namespace
        );
        let (at, path) = (name.at.clone(), &name.path);
        found.push(Diagnostic::warning(codes::HIDDEN_SUBSET, at, path, message).with_help(help));
    }
}
