//! Route tables from documents.

mod gateway;
mod sidecar;

use std::sync::Arc;

pub(crate) use gateway::server_host;

use super::check::check;
use super::rule_list::RuleList;
use super::{Compiled, Proxy, RouteTable};
use crate::cluster::{ClusterBuilder, Rules};
use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;

pub(super) fn compile(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    proxy: Proxy<'_>,
) -> (Compiled, Vec<Diagnostic>) {
    let mut diagnostics = check(documents, registry);
    if diagnostics.iter().any(Diagnostic::is_error) {
        // Compiling with holes would only repeat the findings.
        return (Compiled::default(), diagnostics);
    }
    let rules = Rules::new(documents, registry, mesh, proxy.workload());
    let mut clusters = ClusterBuilder::new(rules);
    let routes = match proxy {
        Proxy::Gateway { workload } => {
            gateway::compile(documents, registry, workload, &mut clusters)
        }
        Proxy::Sidecar { workload } => {
            sidecar::compile(documents, registry, workload, &mut clusters)
        }
    };
    let (clusters, found) = clusters.finish();
    diagnostics.extend(found);
    // One document is compiled for several listeners and may be reported for each.
    diagnostics.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    diagnostics.dedup();
    (Compiled { routes, clusters }, diagnostics)
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
