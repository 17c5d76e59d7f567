//! Route tables from documents.

mod gateway;
mod owners;
mod sidecar;

use std::sync::Arc;

pub(crate) use gateway::{bound_hosts, qualified_gateway, server_host};
pub(crate) use owners::{MESH, Owners, is_bound_to_mesh};

use super::rule_list::RuleList;
use super::rules::RuleCompiler;
use super::{Compiled, Proxy, RouteTable};
use crate::cluster::{ClusterBuilder, Rules};
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;

pub(super) fn compile(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    proxy: Proxy<'_>,
) -> Compiled {
    let rules = Rules::new(documents, registry, mesh, proxy.workload());
    let clusters = ClusterBuilder::new(rules);
    let mut compiler = RuleCompiler::new(documents, registry, clusters);
    let routes = match proxy {
        Proxy::Gateway { workload } => gateway::compile(documents, workload, &mut compiler),
        Proxy::Sidecar { workload } => sidecar::compile(documents, workload, &mut compiler),
    };
    Compiled {
        routes,
        clusters: compiler.clusters.finish(),
    }
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
