//! Whether the hosts of a VirtualService are hosts of its gateways.

use std::collections::{HashMap, HashSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Gateway, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::registry::Registry;
use crate::route::{MESH, qualified_gateway, server_host};

/// Finds hosts that no server of their gateways has.
pub(super) fn check(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let gateways: HashMap<String, ServerHosts<'_>> = documents
        .gateways
        .iter()
        .map(|gateway| (gateway.meta.qualified(), ServerHosts::of(gateway)))
        .collect();
    for document in &documents.virtual_services {
        let namespace = &document.meta.namespace;
        // A document for both lists names that are only known inside the mesh too.
        if document.gateways.is_empty() || document.gateways.iter().any(|name| name.value == MESH) {
            continue;
        }
        let own: Vec<&ServerHosts<'_>> = document
            .gateways
            .iter()
            .filter_map(|name| gateways.get(&qualified_gateway(name, namespace)))
            .collect();
        // Unknown gateways have been reported.
        if own.len() < document.gateways.len() {
            continue;
        }
        for host in &document.hosts {
            let names = spellings(host, namespace, registry);
            let bound = |name: &HostPattern| own.iter().any(|hosts| hosts.have(name, namespace));
            if !names.iter().any(bound) {
                found.push(unbound(document, host));
            }
        }
    }
}

/// A host as it is written, and in full if it is the short name of a service: both are what the author means.
fn spellings(host: &str, namespace: &str, registry: &Registry) -> Vec<HostPattern> {
    let written = HostPattern::parse(host);
    let full = match &written {
        HostPattern::Exact(name) if !name.contains('.') => registry
            .lookup(name, namespace)
            .map(|service| HostPattern::parse(&service.host)),
        _ => None,
    };
    [Some(written), full].into_iter().flatten().collect()
}

/// The hosts of a Gateway's servers, each with the namespace whose documents may use it; `*` is any namespace.
struct ServerHosts<'a> {
    patterns: HashSet<(&'a str, HostPattern)>,
    /// Every `.suffix` that some pattern ends with, itself excluded.
    above: HashSet<(&'a str, Box<str>)>,
}

impl<'a> ServerHosts<'a> {
    fn of(gateway: &'a Gateway) -> Self {
        let mut hosts = Self {
            patterns: HashSet::new(),
            above: HashSet::new(),
        };
        for host in gateway.servers.iter().flat_map(|server| &server.hosts) {
            let (namespace, pattern) = server_host(host);
            let namespace = match namespace {
                "." => gateway.meta.namespace.as_str(),
                other => other,
            };
            let above = match &pattern {
                HostPattern::Exact(name) => suffixes(name),
                HostPattern::Suffix(suffix) => suffixes(suffix),
                HostPattern::Any => Vec::new(),
            };
            let above = above.into_iter().map(|suffix| (namespace, suffix.into()));
            hosts.above.extend(above);
            hosts.patterns.insert((namespace, pattern));
        }
        hosts
    }

    /// Whether a host of a document in a namespace is among them, or some of the hosts that it means are.
    fn have(&self, host: &HostPattern, namespace: &str) -> bool {
        let has = |pattern: &HostPattern| {
            self.patterns.contains(&("*", pattern.clone()))
                || self.patterns.contains(&(namespace, pattern.clone()))
        };
        let covered = |text: &str| {
            has(&HostPattern::Any)
                || suffixes(text)
                    .into_iter()
                    .any(|suffix| has(&HostPattern::Suffix(suffix.into())))
        };
        match host {
            HostPattern::Exact(name) => has(host) || covered(name),
            HostPattern::Suffix(suffix) => {
                has(host)
                    || covered(suffix)
                    || self.above.contains(&("*", suffix.clone()))
                    || self.above.contains(&(namespace, suffix.clone()))
            }
            HostPattern::Any => self
                .patterns
                .iter()
                .any(|(allowed, _)| *allowed == "*" || *allowed == namespace),
        }
    }
}

/// Every `.suffix` behind the first character.
fn suffixes(text: &str) -> Vec<&str> {
    text.char_indices()
        .skip(1)
        .filter(|(_, character)| *character == '.')
        .filter_map(|(dot, _)| text.get(dot..))
        .collect()
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
