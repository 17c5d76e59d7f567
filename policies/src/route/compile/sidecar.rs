//! The table of a sidecar: every declared service, and the routes bound to `mesh`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MESH, Owners, empty, keep};
use crate::document::{DocumentSet, VirtualService};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service, ServicePort};
use crate::route::hosts::HostTable;
use crate::route::rule_list::RuleList;
use crate::route::rules::{Listener, RuleCompiler, compile as compile_rules, default_rule};
use crate::route::{Hidden, RouteTable, TableKind, opaque};
use crate::scope::Scope;
use crate::workload::Workload;

pub(super) fn compile<'a>(
    documents: &'a DocumentSet,
    mesh: &Mesh,
    workload: &'a Workload,
    compiler: &mut RuleCompiler<'a>,
) -> RouteTable {
    let (registry, scope) = (compiler.registry, compiler.scope);
    let owners = Owners::of_mesh(documents, registry, mesh);
    let looked_at = |document: &&VirtualService| scope.sees_routes(document, registry);
    let mut table = empty(TableKind::Sidecar);
    let mut lists: Vec<Arc<RuleList>> = Vec::new();
    let mut listeners: BTreeMap<u16, HostTable> = BTreeMap::new();
    for service in registry.services() {
        let names = names(service, registry, workload);
        let seen = |port: &&ServicePort| scope.sees(service, port.number);
        if !service.ports.iter().all(|port| seen(&port)) {
            hide(&mut table, service, &names, scope);
        }
        let document = owners.of(service).find(looked_at);
        let default = default_port(service);
        for port in service
            .ports
            .iter()
            .filter(seen)
            .filter(|port| port.protocol.is_http())
        {
            let rules =
                if let Some(document) = document.filter(|document| !document.http.is_empty()) {
                    let listener = Listener {
                        port: Some(port.number),
                        gateway: MESH,
                        source: Some(workload),
                    };
                    compile_rules(document, listener, compiler)
                } else {
                    let cluster = compiler.clusters.cluster(service, port, None);
                    cluster
                        .and_then(|cluster| default_rule(service, cluster, compiler.retries))
                        .into_iter()
                        .collect()
                };
            let list = keep(&mut lists, Arc::new(RuleList::new(rules)));
            let of_port = listeners.entry(port.number).or_default();
            for name in &names {
                of_port.insert(name, list);
                if default == Some(port) {
                    table.portless.insert(name, list);
                }
            }
        }
        for port in service
            .ports
            .iter()
            .filter(seen)
            .filter(|port| !port.protocol.is_http())
        {
            let listener = Listener {
                port: Some(port.number),
                gateway: MESH,
                source: Some(workload),
            };
            let rules = opaque::of_port(service, port, document, listener, compiler);
            table.opaque.insert(port.number, &names, rules);
        }
    }
    let undeclared = owners.undeclared.iter();
    for (pattern, document) in undeclared.filter(|(_, document)| looked_at(document)) {
        let listener = Listener {
            port: None,
            gateway: MESH,
            source: Some(workload),
        };
        let rules = compile_rules(document, listener, compiler);
        table
            .anywhere
            .insert(pattern, keep(&mut lists, Arc::new(RuleList::new(rules))));
    }
    table.outbound = scope.outbound();
    table.listeners = listeners.into_iter().collect();
    table.rules = lists.into();
    table
}

/// Keeps why the workload gets no answer from a service that documents declare.
fn hide(table: &mut RouteTable, service: &Service, names: &[HostPattern], scope: Scope<'_>) {
    let hidden = Hidden {
        service: Arc::clone(&service.host),
        by: match scope.sidecar() {
            Some(sidecar) if scope.exports(service) => sidecar.meta.at.clone(),
            _ => service.at.clone(),
        },
    };
    for name in names {
        if let HostPattern::Exact(name) = name {
            table.hidden.insert(name.clone(), hidden.clone());
        }
    }
}

/// The port that a host without port means: the only one, else 80, else the first.
fn default_port(service: &Service) -> Option<&ServicePort> {
    let mut http = service.ports.iter().filter(|port| port.protocol.is_http());
    let first = http.next()?;
    match http.next() {
        None => Some(first),
        Some(_) => service
            .port(80)
            .filter(|port| port.protocol.is_http())
            .or(Some(first)),
    }
}

/// The names by which a workload reaches a service.
fn names(service: &Service, registry: &Registry, workload: &Workload) -> Vec<HostPattern> {
    let mut names: Vec<HostPattern> = service
        .aliases
        .iter()
        .map(|alias| HostPattern::parse(alias))
        .collect();
    let short = registry.lookup(&service.name, &workload.namespace);
    if short.is_some_and(|found| found.host == service.host) {
        names.extend(Some(HostPattern::parse(&service.name)).filter(|name| !names.contains(name)));
    }
    names
}
