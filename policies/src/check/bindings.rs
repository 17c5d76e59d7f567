//! Whether the hosts of a VirtualService are hosts of its gateways.

use std::collections::HashMap;

use super::hosts::HostSet;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Gateway, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::registry::Registry;
use crate::route::{MESH, qualified_gateway, server_host};

/// Finds hosts that no server of their gateways has.
pub(super) fn check(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let gateways: HashMap<String, HostSet> = documents
        .gateways
        .iter()
        .map(|gateway| (gateway.meta.qualified(), hosts_of(gateway)))
        .collect();
    for document in &documents.virtual_services {
        let namespace = &document.meta.namespace;
        // A document for both lists names that are only known inside the mesh too.
        if document.gateways.is_empty() || document.gateways.iter().any(|name| name.value == MESH) {
            continue;
        }
        let own: Vec<&HostSet> = document
            .gateways
            .iter()
            .filter_map(|name| gateways.get(&qualified_gateway(name, namespace)))
            .collect();
        // Unknown gateways have been reported.
        if own.len() < document.gateways.len() {
            continue;
        }
        let bound = |name: &HostPattern| {
            own.iter()
                .any(|hosts| hosts.meets("*", name) || hosts.meets(namespace, name))
        };
        for host in &document.hosts {
            if !HostSet::spellings(host, namespace, registry)
                .iter()
                .any(bound)
            {
                found.push(unbound(document, host));
            }
        }
    }
}

/// The hosts of a Gateway's servers, each with the namespace whose documents may use it.
fn hosts_of(gateway: &Gateway) -> HostSet {
    let mut hosts = HostSet::default();
    for host in gateway.servers.iter().flat_map(|server| &server.hosts) {
        let (namespace, pattern) = server_host(host);
        let namespace = match namespace {
            "." => gateway.meta.namespace.as_str(),
            other => other,
        };
        hosts.insert(namespace, &pattern);
    }
    hosts
}

fn unbound(document: &VirtualService, host: &Spanned<String>) -> Diagnostic {
    let several = if document.gateways.len() > 1 { "s" } else { "" };
    let names: Vec<String> = document
        .gateways
        .iter()
        .map(|name| format!("`{}`", qualified_gateway(name, &document.meta.namespace)))
        .collect();
    let message = format!(
        "no server of the gateway{several} {} has the host `{host}`: requests for it are answered with 404",
        names.join(", ")
    );
    Diagnostic::warning(codes::UNBOUND_HOST, host.at.clone(), &host.path, message)
        .with_help("the hosts of the Gateway's servers must include it, and their namespace part must allow it")
}
