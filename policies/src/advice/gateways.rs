//! Gateways: servers that nothing is behind, and plaintext beside TLS.

use std::collections::{HashMap, HashSet};

use crate::check::hosts::HostSet;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Gateway, Server};
use crate::host::HostPattern;
use crate::listener::is_tls;
use crate::registry::Registry;
use crate::route::{qualified_gateway, server_host};

/// Finds servers without routes, and plaintext servers that do not redirect to the TLS server of the same host.
pub(super) fn advise(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let mut bound: HashMap<String, HostSet> = HashMap::new();
    for document in &documents.virtual_services {
        let namespace = &document.meta.namespace;
        for gateway in &document.gateways {
            let hosts = bound
                .entry(qualified_gateway(gateway, namespace))
                .or_default();
            for host in &document.hosts {
                for pattern in HostSet::spellings(host, namespace, registry) {
                    hosts.insert("*", &pattern);
                    hosts.insert(namespace, &pattern);
                }
            }
        }
    }
    for gateway in &documents.gateways {
        if let Some(hosts) = bound.get(&gateway.meta.qualified()) {
            without_routes(gateway, hosts, found);
        }
        plaintext(gateway, found);
    }
}

fn redirects(server: &Server) -> bool {
    server.tls.as_ref().is_some_and(|tls| tls.https_redirect)
}

/// Servers that no route leads to, beside others of the same Gateway that have some. Where none has, the routes may stand
/// elsewhere, or the check has reported that their hosts differ.
fn without_routes(gateway: &Gateway, bound: &HostSet, found: &mut Vec<Diagnostic>) {
    let used = |host: &str| {
        let (namespace, pattern) = server_host(host);
        let namespace = match namespace {
            "." => gateway.meta.namespace.as_str(),
            other => other,
        };
        bound.meets(namespace, &pattern)
    };
    let (used, unused): (Vec<&Server>, Vec<&Server>) = gateway
        .servers
        .iter()
        .filter(|server| !redirects(server))
        .partition(|server| server.hosts.iter().any(|host| used(host)));
    if used.is_empty() {
        return;
    }
    for server in unused {
        let message = format!(
            "no VirtualService has a host of this server of {} on port {}: every request is answered with 404",
            gateway.meta, server.port.number
        );
        let help = format!(
            "bind a VirtualService with `gateways: [{}]` and one of the hosts, or remove the server",
            gateway.meta.qualified()
        );
        let (at, path) = (server.at.clone(), &server.path);
        found.push(
            Diagnostic::warning(codes::SERVER_WITHOUT_ROUTES, at, path, message).with_help(help),
        );
    }
}

/// The same host in plaintext and over TLS: whoever types no `https` stays in plaintext.
fn plaintext(gateway: &Gateway, found: &mut Vec<Diagnostic>) {
    let patterns = |server: &Server| -> HashSet<HostPattern> {
        server
            .hosts
            .iter()
            .map(|host| server_host(host).1)
            .collect()
    };
    let over_tls: HashSet<HostPattern> = gateway
        .servers
        .iter()
        .filter(|server| is_tls(*server.port.protocol))
        .flat_map(patterns)
        .collect();
    for server in &gateway.servers {
        if !server.port.protocol.is_http() || redirects(server) {
            continue;
        }
        let Some(host) = server
            .hosts
            .iter()
            .find(|host| over_tls.contains(&server_host(host).1))
        else {
            continue;
        };
        let message = format!(
            "`{host}` is served over TLS, and on port {} in plaintext too: nothing sends clients to https",
            server.port.number
        );
        found.push(
            Diagnostic::info(
                codes::PLAINTEXT_BESIDE_TLS,
                server.at.clone(),
                &server.path,
                message,
            )
            .with_help("add `tls: {httpsRedirect: true}` to this server"),
        );
    }
}
