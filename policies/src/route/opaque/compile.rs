//! Opaque rules from the `tcp` and `tls` routes of VirtualServices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{OpaqueRoute, OpaqueRule, OpaqueRules, OpaqueTable};
use crate::cidr::Cidr;
use crate::cluster::ClusterIndex;
use crate::document::{
    Destination, L4Match, L4Rule, Protocol, Server, ServerTlsMode, Spanned, VirtualService,
};
use crate::host::HostPattern;
use crate::registry::{Service, ServicePort};
use crate::route::rules::{Listener, RuleCompiler};
use crate::route::{HeaderOps, WeightedCluster, WeightedClusters};

/// The rules of a service port on a sidecar: those of the document that routes the service, then the service itself.
///
/// As in Istio, `tls` routes are for ports that speak TLS, `tcp` routes for all others.
pub(in crate::route) fn of_port(
    service: &Service,
    port: &ServicePort,
    document: Option<&VirtualService>,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> OpaqueRules {
    let mut rules = document.map_or_else(OpaqueRules::default, |document| {
        let written = if matches!(port.protocol, Protocol::Tls | Protocol::Https) {
            &document.tls
        } else {
            &document.tcp
        };
        compile(written, document, listener, compiler)
    });
    if !rules.0.last().is_some_and(OpaqueRule::is_catch_all) {
        let cluster = compiler.clusters.cluster(service, port, None);
        let only = cluster.map(|cluster| vec![weighted(cluster, 1)]);
        rules.0.push(OpaqueRule {
            sni: Box::default(),
            destinations: Box::default(),
            source: None,
            route: Arc::new(OpaqueRoute {
                virtual_service: Arc::clone(&service.host),
                at: service.at.clone(),
                clusters: only.and_then(WeightedClusters::new),
            }),
        });
    }
    rules
}

/// The opaque servers of one gateway, while they are collected.
#[derive(Debug, Default)]
pub(in crate::route) struct Servers(BTreeMap<u16, HashMap<HostPattern, OpaqueRules>>);

impl Servers {
    /// Whether the bytes of a server's connections are passed on as they are.
    pub(in crate::route) fn serve(server: &Server) -> bool {
        matches!(*server.port.protocol, Protocol::Tcp | Protocol::Tls) || passes_tls(server)
    }

    /// Adds the routes of a document that is bound to a server with these hosts.
    pub(in crate::route) fn add(
        &mut self,
        server: &Server,
        hosts: Vec<HostPattern>,
        document: &VirtualService,
        listener: Listener<'_>,
        compiler: &mut RuleCompiler<'_>,
    ) {
        let written = if passes_tls(server) {
            &document.tls
        } else {
            &document.tcp
        };
        let rules = compile(written, document, listener, compiler);
        // Plain TCP has no name to choose by.
        let hosts = if *server.port.protocol == Protocol::Tcp {
            vec![HostPattern::Any]
        } else {
            hosts
        };
        let port = self.0.entry(*server.port.number).or_default();
        for host in hosts {
            let of_host = port.entry(host).or_default();
            if !of_host.0.last().is_some_and(OpaqueRule::is_catch_all) {
                of_host.0.extend(rules.0.iter().cloned());
            }
        }
    }

    pub(in crate::route) fn table(self) -> OpaqueTable {
        let mut table = OpaqueTable::default();
        for (port, hosts) in self.0 {
            for (host, rules) in hosts {
                table.insert(port, &[host], rules);
            }
        }
        table
    }
}

/// Whether TLS goes on to the endpoint as it is.
fn passes_tls(server: &Server) -> bool {
    let mode = server.tls.as_ref().and_then(|tls| tls.mode);
    mode == Some(ServerTlsMode::Passthrough)
}

/// The rules of a document that hold at a listener, in order, up to the first that takes everything.
fn compile(
    rules: &[L4Rule],
    document: &VirtualService,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> OpaqueRules {
    let name: Arc<str> = document.meta.qualified().into();
    let mut compiled = Vec::new();
    for rule in rules {
        let mut held = rule
            .matches
            .iter()
            .filter(|found| holds(found, document, listener))
            .peekable();
        if !rule.matches.is_empty() && held.peek().is_none() {
            continue;
        }
        let route = Arc::new(OpaqueRoute {
            virtual_service: Arc::clone(&name),
            at: rule.at.clone(),
            clusters: clusters(rule, document, listener, compiler),
        });
        let of_route = |found: Option<&L4Match>| conditions(found, &route);
        let alternatives = if rule.matches.is_empty() {
            vec![of_route(None)]
        } else {
            held.map(|found| of_route(Some(found))).collect()
        };
        for alternative in alternatives.into_iter().flatten() {
            let everything = alternative.is_catch_all();
            compiled.push(alternative);
            if everything {
                return OpaqueRules(compiled);
            }
        }
    }
    OpaqueRules(compiled)
}

/// The conditions of a match that a connection has to be looked at for. One that cannot be read never holds; they have
/// all been read at load.
fn conditions(found: Option<&L4Match>, route: &Arc<OpaqueRoute>) -> Option<OpaqueRule> {
    let block = |text: &Spanned<String>| Cidr::parse(text);
    let (sni, destinations, source) = match found {
        None => (Box::default(), Box::default(), None),
        Some(found) => (
            found
                .sni_hosts
                .iter()
                .map(|host| HostPattern::parse(host))
                .collect(),
            found
                .destination_subnets
                .iter()
                .map(block)
                .collect::<Option<_>>()?,
            match &found.source_subnet {
                Some(text) => Some(block(text)?),
                None => None,
            },
        ),
    };
    Some(OpaqueRule {
        sni,
        destinations,
        source,
        route: Arc::clone(route),
    })
}

/// What is known beforehand about a match: gateway, listener port, caller. Unlike those of `http`, all of it counts.
pub(crate) fn holds(found: &L4Match, document: &VirtualService, listener: Listener<'_>) -> bool {
    let namespace = &document.meta.namespace;
    let named = |gateway: &Spanned<String>| {
        gateway.value == listener.gateway
            || crate::route::qualified_gateway(gateway, namespace) == listener.gateway
    };
    let gateway = found.gateways.is_empty() || found.gateways.iter().any(named);
    let port = match (&found.port, listener.port) {
        (Some(wanted), Some(port)) => wanted.value == port,
        _ => true,
    };
    let caller = listener.source.is_none_or(|source| {
        found
            .source_labels
            .iter()
            .all(|(name, value)| source.labels.get(name) == Some(value))
            && found
                .source_namespace
                .as_ref()
                .is_none_or(|namespace| namespace.value == source.namespace)
    });
    gateway && port && caller
}

/// The clusters of a rule. If one of them cannot be had, none is: its share must not go to the others.
fn clusters(
    rule: &L4Rule,
    document: &VirtualService,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> Option<WeightedClusters> {
    let single = rule.route.len() == 1;
    let mut found = Vec::new();
    for destination in &rule.route {
        let weight = if single { 1 } else { destination.weight };
        let cluster = cluster(&destination.destination, document, listener, compiler)?;
        found.push(weighted(cluster, weight));
    }
    WeightedClusters::new(found)
}

fn cluster(
    destination: &Destination,
    document: &VirtualService,
    listener: Listener<'_>,
    compiler: &mut RuleCompiler<'_>,
) -> Option<ClusterIndex> {
    let service = (compiler.registry).lookup(&destination.host, &document.meta.namespace)?;
    if !compiler.scope.exports(service) {
        return None;
    }
    let port = match &destination.port {
        Some(number) => service.port(**number)?,
        None => implied_port(service, listener.port)?,
    };
    let subset = destination.subset.as_ref();
    compiler.clusters.cluster(service, port, subset)
}

/// The service's only opaque port, else the listener's.
pub(crate) fn implied_port(service: &Service, listener: Option<u16>) -> Option<&ServicePort> {
    let mut opaque = (service.ports.iter()).filter(|port| !port.protocol.is_http());
    match (opaque.next(), opaque.next()) {
        (Some(only), None) => Some(only),
        _ => service
            .port(listener?)
            .filter(|port| !port.protocol.is_http()),
    }
}

fn weighted(cluster: ClusterIndex, weight: u32) -> WeightedCluster {
    WeightedCluster {
        cluster,
        weight,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    }
}
