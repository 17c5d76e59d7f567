//! The table of a gateway: routes bound to the Gateway documents that select its workload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{empty, keep};
use crate::document::{DocumentSet, Gateway, Server, VirtualService};
use crate::host::HostPattern;
use crate::registry::Registry;
use crate::route::hosts::HostTable;
use crate::route::matching::Condition;
use crate::route::opaque::Servers;
use crate::route::rule_list::{CompiledRule, RuleList};
use crate::route::rules::{Listener, RuleCompiler, compile as compile_rules};
use crate::route::{HttpRoute, Redirect, RouteAction, RouteTable, TableKind};
use crate::workload::Workload;

/// The rules of one port by host pattern.
#[derive(Default)]
struct Hosts {
    routes: HashMap<HostPattern, Vec<Arc<RuleList>>>,
    /// `httpsRedirect` is for every request of a host, whatever else is written about it.
    redirects: HashMap<HostPattern, CompiledRule>,
}

pub(super) fn compile<'a>(
    documents: &'a DocumentSet,
    workload: &Workload,
    compiler: &mut RuleCompiler<'a>,
) -> RouteTable {
    let registry = compiler.registry;
    let mut ports: BTreeMap<u16, Hosts> = BTreeMap::new();
    let mut opaque = Servers::default();
    let bound = bound_documents(documents, compiler);
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
            for document in bound.get(&name).into_iter().flatten() {
                let patterns = bound_hosts(gateway, server, document, registry);
                if patterns.is_empty() {
                    continue;
                }
                let listener = Listener {
                    port: Some(port),
                    gateway: &name,
                    source: None,
                };
                if Servers::serve(server) {
                    opaque.add(server, patterns, document, listener, compiler);
                    continue;
                }
                let rules = compile_rules(document, listener, compiler);
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
    RouteTable {
        opaque: opaque.table(),
        ..table(ports)
    }
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

/// The documents of each gateway that the proxy sees, in document order.
fn bound_documents<'a>(
    documents: &'a DocumentSet,
    compiler: &RuleCompiler<'a>,
) -> HashMap<String, Vec<&'a VirtualService>> {
    let mut bound: HashMap<String, Vec<&'a VirtualService>> = HashMap::new();
    let (scope, registry) = (compiler.scope, compiler.registry);
    let seen = documents.virtual_services.iter();
    for document in seen.filter(|document| scope.sees_routes(document, registry)) {
        for gateway in &document.gateways {
            let name = qualified_gateway(gateway, &document.meta.namespace);
            let of_gateway = bound.entry(name).or_default();
            // A gateway may be named twice.
            if !of_gateway
                .last()
                .is_some_and(|last| std::ptr::eq(*last, &raw const **document))
            {
                of_gateway.push(document);
            }
        }
    }
    bound
}

/// A gateway's qualified name.
pub(crate) fn qualified_gateway(name: &str, namespace: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// The hosts that a server and a document have in common.
pub(crate) fn bound_hosts(
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
            ..HttpRoute::new(
                name.into(),
                server
                    .tls
                    .as_ref()
                    .map_or(&gateway.meta.at, |tls| &tls.at)
                    .clone(),
                RouteAction::Redirect(Redirect::to_https()),
            )
        }),
    }
}
