//! Which Fallback holds for which clusters of a proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

use super::super::rules::{RuleCompiler, implied_port};
use crate::cluster::{Fallback, FallbackAnswer};
use crate::document::{self, Destination, DocumentSet};
use crate::mesh::Mesh;
use crate::workload::Workload;

/// Gives the clusters that routes have asked for what is answered where they fail. Those that are only another's fallback
/// have none: nothing falls twice.
pub(super) fn attach(
    documents: &DocumentSet,
    mesh: &Mesh,
    client: &Workload,
    compiler: &mut RuleCompiler<'_>,
) {
    // The nearest document of each service wins; the check of references says where two are equally near.
    let mut nearest: BTreeMap<Arc<str>, (Nearness, &document::Fallback)> = BTreeMap::new();
    for document in &documents.fallbacks {
        let namespace = document.meta.namespace.as_str();
        let Some(service) = compiler.registry.lookup(&document.host, namespace) else {
            continue;
        };
        let nearness = if namespace == client.namespace {
            Nearness::Client
        } else if *namespace == *service.namespace {
            Nearness::Service
        } else if namespace == mesh.root_namespace {
            Nearness::Mesh
        } else {
            // Nobody decides for strangers what they are answered.
            continue;
        };
        let known = nearest.get(&service.host).map(|(known, _)| *known);
        if compiler.clusters.has(&service.host) && known.is_none_or(|known| nearness < known) {
            nearest.insert(Arc::clone(&service.host), (nearness, &**document));
        }
    }
    let mut all = Vec::new();
    for (host, (_, document)) in &nearest {
        let Some(answer) = answer(document, compiler) else {
            continue;
        };
        let fallback = Arc::new(Fallback {
            at: document.host.at.clone(),
            when: document.when.as_slice().into(),
            answer,
        });
        all.push((host, fallback));
    }
    for (host, fallback) in all {
        compiler.clusters.fall_back(host, &fallback);
    }
}

/// Whose word counts first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// The caller's own namespace.
    Client,
    /// The namespace of the service.
    Service,
    /// The mesh's root namespace.
    Mesh,
}

fn answer(
    document: &document::Fallback,
    compiler: &mut RuleCompiler<'_>,
) -> Option<FallbackAnswer> {
    match &document.answer {
        document::FallbackAnswer::Response(response) => Some(FallbackAnswer::Response {
            status: StatusCode::from_u16(response.status).ok()?,
            content_type: response.content_type.clone(),
            body: response.body.as_bytes().into(),
        }),
        document::FallbackAnswer::Destination(to) => {
            let Destination { host, subset, port } = &**to;
            let service = compiler.registry.lookup(host, &document.meta.namespace)?;
            if !compiler.scope.exports(service) {
                return None;
            }
            let port = match port {
                Some(number) => service.port(**number)?,
                None => implied_port(service, None)?,
            };
            let cluster = compiler.clusters.cluster(service, port, subset.as_ref());
            cluster.map(FallbackAnswer::Cluster)
        }
    }
}
