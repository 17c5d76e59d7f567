//! PeerAuthentication documents, each alone and several of one level.

use std::collections::HashMap;

use policies::{
    diagnostic::Diagnostic,
    document::{DocumentSet, PeerAuthentication},
    mesh::Mesh,
};

use crate::{codes, mtls};

/// What a level is: a namespace, and the labels that are selected in it.
type Level<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Finds documents that Istio would leave without effect.
pub(super) fn check(documents: &DocumentSet, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<Level<'_>, &PeerAuthentication> = HashMap::new();
    for policy in &documents.peer_authentications {
        let refused = mtls::findings_of(policy, mesh);
        let skip = refused.iter().any(Diagnostic::is_error);
        found.extend(refused);
        if skip {
            continue;
        }
        let selector = policy.selector.iter().flat_map(|selector| {
            let labels = selector.match_labels.iter();
            labels.map(|(name, value)| (name.as_str(), value.value.as_str()))
        });
        let level = (policy.meta.namespace.as_str(), selector.collect());
        if let Some(first) = first.get(&level) {
            found.push(shadowed(policy, first));
        } else {
            first.insert(level, policy);
        }
    }
}

fn shadowed(policy: &PeerAuthentication, first: &PeerAuthentication) -> Diagnostic {
    let message = format!(
        "{} has no effect beside {} at {}",
        policy.meta, first.meta, first.meta.at
    );
    Diagnostic::warning(
        codes::SHADOWED_PEER_AUTHENTICATION,
        policy.meta.at.clone(),
        "spec",
        message,
    )
    .with_help("keep one PeerAuthentication per mesh, namespace and selected workload")
}
