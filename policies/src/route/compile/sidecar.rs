//! The table of a sidecar: every declared service, and the routes bound to `mesh`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{empty, keep};
use crate::cluster::ClusterBuilder;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::registry::{Registry, Service, ServicePort};
use crate::route::hosts::HostTable;
use crate::route::rule_list::RuleList;
use crate::route::rules::{Listener, compile as compile_rules, default_rule};
use crate::route::{RouteTable, TableKind};
use crate::workload::Workload;

const MESH: &str = "mesh";

pub(super) fn compile(
    documents: &DocumentSet,
    registry: &Registry,
    workload: &Workload,
    clusters: &mut ClusterBuilder<'_>,
) -> RouteTable {
    let owners = owners(documents, registry, clusters);
    let mut table = empty(TableKind::Sidecar);
    let mut lists: Vec<Arc<RuleList>> = Vec::new();
    let mut listeners: BTreeMap<u16, HostTable> = BTreeMap::new();
    for service in registry.services() {
        let document = owners.of(service);
        let names = names(service, registry, workload);
        let default = default_port(service);
        for port in service.ports.iter().filter(|port| port.protocol.is_http()) {
            let rules = if let Some(document) = document {
                let listener = Listener {
                    port: Some(port.number),
                    gateway: MESH,
                    source: Some(workload),
                };
                compile_rules(document, listener, registry, clusters)
            } else {
                let cluster = clusters.cluster(service, port, None);
                cluster
                    .and_then(|cluster| default_rule(service, cluster))
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
    }
    for (pattern, document) in &owners.undeclared {
        let listener = Listener {
            port: None,
            gateway: MESH,
            source: Some(workload),
        };
        let rules = compile_rules(document, listener, registry, clusters);
        table
            .anywhere
            .insert(pattern, keep(&mut lists, Arc::new(RuleList::new(rules))));
    }
    table.listeners = listeners.into_iter().collect();
    table.rules = lists.into();
    table
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

/// Which document routes which host of the mesh.
struct Owners<'a> {
    /// By canonical host.
    services: HashMap<Arc<str>, &'a VirtualService>,
    /// Wildcards, longest first.
    wildcards: Vec<(HostPattern, &'a VirtualService)>,
    /// Hosts that no document declares, and wildcards.
    undeclared: Vec<(HostPattern, &'a VirtualService)>,
}

impl<'a> Owners<'a> {
    fn of(&self, service: &Service) -> Option<&'a VirtualService> {
        let exact = self.services.get(&service.host).copied();
        exact.or_else(|| {
            let found = self
                .wildcards
                .iter()
                .find(|(pattern, _)| pattern.matches(&service.host));
            found.map(|(_, document)| *document)
        })
    }
}

/// In the mesh one document owns a host: Istio silently takes the oldest of several, files have no age.
fn owners<'a>(
    documents: &'a DocumentSet,
    registry: &Registry,
    clusters: &mut ClusterBuilder<'_>,
) -> Owners<'a> {
    let mut owners = Owners {
        services: HashMap::new(),
        wildcards: Vec::new(),
        undeclared: Vec::new(),
    };
    let mut report = |host: &Spanned<String>, earlier: &VirtualService| {
        let message = format!(
            "the host `{host}` is routed by {} `{}` already",
            earlier.meta.kind,
            earlier.meta.qualified()
        );
        let diagnostic = Diagnostic::error(
            codes::CONFLICTING_HOST,
            host.at.clone(),
            &host.path,
            message,
        );
        clusters
            .diagnostics
            .push(diagnostic.with_help("write all routes of a host into one VirtualService"));
    };
    let mut known: HashMap<HostPattern, &VirtualService> = HashMap::new();
    for document in &documents.virtual_services {
        let bound = document.gateways.is_empty()
            || document
                .gateways
                .iter()
                .any(|gateway| gateway.value == MESH);
        if !bound {
            continue;
        }
        for host in &document.hosts {
            let pattern = HostPattern::parse(host);
            let service = match &pattern {
                HostPattern::Exact(name) => registry.lookup(name, &document.meta.namespace),
                _ => None,
            };
            if let Some(service) = service.filter(|service| !service.host.starts_with('*')) {
                match owners.services.get(&service.host) {
                    // Several names of one service in one document are fine.
                    Some(earlier) if !std::ptr::eq(*earlier, &raw const **document) => {
                        report(host, earlier);
                    }
                    _ => {
                        owners.services.insert(Arc::clone(&service.host), document);
                    }
                }
                continue;
            }
            if let Some(earlier) = known.get(&pattern) {
                report(host, earlier);
            } else {
                if !matches!(pattern, HostPattern::Exact(_)) {
                    owners.wildcards.push((pattern.clone(), document));
                }
                known.insert(pattern.clone(), &**document);
                owners.undeclared.push((pattern, document));
            }
        }
    }
    owners
        .wildcards
        .sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.to_string().len()));
    owners
}
