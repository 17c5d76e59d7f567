//! Route tables from documents.

mod fallbacks;
mod gateway;
mod owners;
mod sidecar;

use std::sync::Arc;

pub(crate) use gateway::{bound_hosts, qualified_gateway, server_host};
pub(crate) use owners::{MESH, Owners, is_bound_to_mesh};

use super::rule_list::RuleList;
use super::rules::RuleCompiler;
use super::{Compiled, LimitService, Proxy, RouteTable};
use crate::cluster::{ClusterBuilder, ClusterIndex, Rules, providers};
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::scope::Scope;

pub(super) fn compile(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    proxy: Proxy<'_>,
) -> Compiled {
    let rules = Rules::new(documents, registry, mesh, proxy.workload());
    let clusters = ClusterBuilder::new(rules);
    let scope = Scope::of(documents, mesh, proxy);
    let mut compiler = RuleCompiler::new(documents, registry, scope, clusters, mesh);
    let routes = match proxy {
        Proxy::Gateway { workload } => gateway::compile(documents, workload, &mut compiler),
        Proxy::Sidecar { workload } => sidecar::compile(documents, mesh, workload, &mut compiler),
    };
    fallbacks::attach(documents, mesh, proxy.workload(), &mut compiler);
    let providers = providers(registry, mesh, &mut compiler.clusters);
    let limit_services = limit_services(documents, registry, &mut compiler.clusters);
    Compiled {
        routes,
        clusters: compiler.clusters.finish(),
        providers,
        limit_services,
    }
}

/// The clusters of the services that RateLimits name, each once.
fn limit_services(
    documents: &DocumentSet,
    registry: &Registry,
    clusters: &mut ClusterBuilder<'_>,
) -> Vec<LimitService> {
    let mut found: Vec<LimitService> = Vec::new();
    for document in &documents.rate_limits {
        let Some(service) = document.service() else {
            continue;
        };
        let namespace = &document.meta.namespace;
        let cluster = registry
            .lookup(&service.host, namespace)
            .and_then(|declared| {
                clusters.cluster(declared, declared.port(service.port.value)?, None)
            });
        let service = cluster.map(|cluster| LimitService {
            namespace: namespace.clone(),
            host: service.host.value.clone(),
            port: service.port.value,
            cluster,
        });
        found.extend(service.filter(|service| !found.contains(service)));
    }
    found
}

/// The clusters of the mesh's external authorizers. One whose service is not declared has none.
fn providers(
    registry: &Registry,
    mesh: &Mesh,
    clusters: &mut ClusterBuilder<'_>,
) -> Vec<(Arc<str>, ClusterIndex)> {
    let mut found = Vec::new();
    for provider in &mesh.extension_providers {
        let Some(at) = providers::authorizer(provider) else {
            continue;
        };
        let service = providers::find(registry, &at.service, &mesh.root_namespace);
        let cluster = service.and_then(|service| {
            let port = service.port(*at.port)?;
            clusters.cluster(service, port, None)
        });
        found.extend(cluster.map(|cluster| (provider.name.as_str().into(), cluster)));
    }
    found
}

/// Keeps a list and says where it stands.
fn keep(lists: &mut Vec<Arc<RuleList>>, list: Arc<RuleList>) -> u32 {
    let index = u32::try_from(lists.len()).unwrap_or(u32::MAX);
    lists.push(list);
    index
}

/// An empty table to fill.
fn empty(kind: super::TableKind) -> RouteTable {
    RouteTable {
        kind,
        ..RouteTable::default()
    }
}
