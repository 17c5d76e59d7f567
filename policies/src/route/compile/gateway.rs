//! The table of a gateway: routes bound to the Gateway documents that select its workload.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{empty, keep};
use crate::cluster::ClusterBuilder;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Gateway, Server, VirtualService};
use crate::host::HostPattern;
use crate::registry::Registry;
use crate::route::check::qualified_gateway;
use crate::route::hosts::HostTable;
use crate::route::matching::Condition;
use crate::route::rule_list::{CompiledRule, RuleList};
use crate::route::rules::{Listener, compile as compile_rules};
use crate::route::{HeaderOps, HttpRoute, Redirect, RouteAction, RouteTable, TableKind};
use crate::workload::Workload;

/// The rules of one port by host pattern.
#[derive(Default)]
struct Hosts {
    routes: HashMap<HostPattern, Vec<Arc<RuleList>>>,
    /// `httpsRedirect` is for every request of a host, whatever else is written about it.
    redirects: HashMap<HostPattern, CompiledRule>,
}

pub(super) fn compile(
    documents: &DocumentSet,
    registry: &Registry,
    workload: &Workload,
    clusters: &mut ClusterBuilder<'_>,
) -> RouteTable {
    let mut ports: BTreeMap<u16, Hosts> = BTreeMap::new();
    let mut bound = HashSet::new();
    let mut asked = HashSet::new();
    for gateway in documents
        .gateways
        .iter()
        .filter(|gateway| gateway.selects(&workload.labels))
    {
        let name = gateway.meta.qualified();
        for server in &gateway.servers {
            let port = *server.port.number;
            let hosts = ports.entry(port).or_default();
            if server.tls.as_ref().is_some_and(|tls| tls.https_redirect) {
                for (_, pattern) in server.hosts.iter().map(|host| server_host(host)) {
                    hosts
                        .redirects
                        .entry(pattern)
                        .or_insert_with(|| redirect(gateway, server, &name));
                }
                continue;
            }
            let binding = documents
                .virtual_services
                .iter()
                .enumerate()
                .filter(|(_, document)| {
                    document
                        .gateways
                        .iter()
                        .any(|other| qualified_gateway(other, &document.meta.namespace) == name)
                });
            for (position, document) in binding {
                asked.insert(position);
                let patterns = shared_hosts(gateway, server, document, registry);
                if patterns.is_empty() {
                    continue;
                }
                bound.insert(position);
                let listener = Listener {
                    port: Some(port),
                    gateway: &name,
                    source: None,
                };
                let rules = compile_rules(document, listener, registry, clusters);
                let rules = Arc::new(RuleList::new(rules));
                for pattern in patterns {
                    hosts
                        .routes
                        .entry(pattern)
                        .or_default()
                        .push(Arc::clone(&rules));
                }
            }
        }
    }
    for (position, document) in documents.virtual_services.iter().enumerate() {
        if asked.contains(&position) && !bound.contains(&position) {
            clusters.diagnostics.push(unbound(document));
        }
    }
    table(ports)
}

fn table(ports: BTreeMap<u16, Hosts>) -> RouteTable {
    let mut table = empty(TableKind::Gateway);
    let mut lists: Vec<Arc<RuleList>> = Vec::new();
    let mut listeners = Vec::new();
    for (port, hosts) in ports {
        let mut host_table = HostTable::default();
        for (pattern, rule) in hosts.redirects {
            host_table.insert(
                &pattern,
                keep(&mut lists, Arc::new(RuleList::new(vec![rule]))),
            );
        }
        for (pattern, documents) in hosts.routes {
            let list = match documents.as_slice() {
                [only] => Arc::clone(only),
                // A catch-all of one document must not hide the others (Istio sorts alike).
                several => {
                    let rules = || several.iter().flat_map(|rules| rules.iter());
                    let specific = rules().filter(|rule| !rule.condition.is_catch_all());
                    let everything = rules().filter(|rule| rule.condition.is_catch_all());
                    Arc::new(RuleList::new(specific.chain(everything).cloned().collect()))
                }
            };
            host_table.insert(&pattern, keep(&mut lists, list));
        }
        listeners.push((port, host_table));
    }
    table.listeners = listeners.into();
    table.rules = lists.into();
    table
}

/// The namespace part and the host of a server's `[namespace/]host`.
pub(crate) fn server_host(text: &str) -> (&str, HostPattern) {
    let (namespace, host) = text.split_once('/').unwrap_or(("*", text));
    (namespace, HostPattern::parse(host))
}

/// The hosts that a server and a document have in common.
fn shared_hosts(
    gateway: &Gateway,
    server: &Server,
    document: &VirtualService,
    registry: &Registry,
) -> Vec<HostPattern> {
    let namespace = &document.meta.namespace;
    let mut shared = Vec::new();
    for (allowed, pattern) in server.hosts.iter().map(|host| server_host(host)) {
        let visible = match allowed {
            "*" => true,
            "." => gateway.meta.namespace == *namespace,
            other => other == namespace,
        };
        if !visible {
            continue;
        }
        for host in &document.hosts {
            let written = HostPattern::parse(host);
            // Istio completes short names; both forms are what the author means.
            let full = match &written {
                HostPattern::Exact(name) if !name.contains('.') => registry
                    .lookup(name, namespace)
                    .map(|service| HostPattern::parse(&service.host)),
                _ => None,
            };
            for own in [Some(written), full].into_iter().flatten() {
                shared.extend(
                    pattern
                        .intersect(&own)
                        .filter(|both| !shared.contains(both)),
                );
            }
        }
    }
    shared
}

/// `httpsRedirect`.
fn redirect(gateway: &Gateway, server: &Server, name: &str) -> CompiledRule {
    CompiledRule {
        condition: Condition::default(),
        route: Arc::new(HttpRoute {
            name: server.name.as_deref().map(Into::into),
            virtual_service: name.into(),
            at: server
                .tls
                .as_ref()
                .map_or(&gateway.meta.at, |tls| &tls.at)
                .clone(),
            action: RouteAction::Redirect(Redirect::to_https()),
            timeout: None,
            rewrite: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
        }),
    }
}

fn unbound(document: &VirtualService) -> Diagnostic {
    let (at, path) = document.hosts.first().map_or_else(
        || (document.meta.at.clone(), String::new()),
        |host| (host.at.clone(), host.path.to_string()),
    );
    let message = format!(
        "no server of its gateways has a host of {} `{}`",
        document.meta.kind,
        document.meta.qualified()
    );
    Diagnostic::warning(codes::UNBOUND_HOST, at, path, message)
        .with_help("the hosts of the Gateway's servers must include it, and their namespace part must allow it")
}
