//! Which clusters some proxy has to have, and whether the port of each is known.

use std::collections::HashSet;

use super::listeners::Listeners;
use crate::cluster::providers;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HttpRule, Spanned, VirtualService};
use crate::mesh::Mesh;
use crate::registry::{Registry, Service, ServicePort};
use crate::route::{Listener, Owners, holds, implied_port};

/// A service, port and subset that a route of some proxy, or an external authorizer of the mesh, leads to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) service: &'a Service,
    pub(super) port: &'a ServicePort,
    pub(super) subset: Option<&'a Spanned<String>>,
    /// The document that leads there; none for the route that a service has without one,
    /// and for an authorizer.
    pub(super) document: Option<&'a VirtualService>,
}

/// Every target of every proxy, each service, port, subset and document at most once; ports that nobody chose are
/// reported.
pub(super) fn targets<'a>(
    documents: &'a DocumentSet,
    registry: &'a Registry,
    mesh: &Mesh,
    owners: &Owners<'a>,
    listeners: &Listeners<'a>,
    found: &mut Vec<Diagnostic>,
) -> Vec<Target<'a>> {
    let mut targets = Vec::new();
    for service in registry.services() {
        // Bytes that nobody looks into are not routed: their ports are reached as they are declared.
        let routed = owners.of(service).is_some();
        let ports = service.ports.iter();
        let direct = ports.filter(|port| !(routed && port.protocol.is_http()));
        targets.extend(direct.map(|port| Target {
            service,
            port,
            subset: None,
            document: None,
        }));
    }
    for document in documents
        .virtual_services
        .iter()
        .map(|document| &**document)
    {
        let mut seen: HashSet<(&str, u16, Option<&str>)> = HashSet::new();
        let mut of_document = None;
        for rule in &document.http {
            for weighted in &rule.route {
                let destination = &weighted.destination;
                let namespace = &document.meta.namespace;
                let Some(service) = registry.lookup(&destination.host, namespace) else {
                    continue;
                };
                let ports = if let Some(number) = &destination.port {
                    service.port(**number).into_iter().collect()
                } else if let Some(only) = implied_port(service, None) {
                    vec![only]
                } else {
                    let listeners =
                        of_document.get_or_insert_with(|| listeners.of(document, registry));
                    let (chosen, missing) = chosen(service, rule, document, listeners);
                    if missing {
                        found.push(no_port(&destination.host, service));
                    }
                    chosen
                };
                let subset = destination.subset.as_ref();
                for port in ports.into_iter().filter(|port| port.protocol.is_http()) {
                    let name = subset.map(|subset| subset.as_str());
                    if seen.insert((&service.host, port.number, name)) {
                        targets.push(Target {
                            service,
                            port,
                            subset,
                            document: Some(document),
                        });
                    }
                }
            }
        }
    }
    for (_, at) in providers::authorizers(documents) {
        let service = providers::find(registry, &at.service, &mesh.root_namespace);
        let port = service.and_then(|service| Some((service, service.port(*at.port)?)));
        targets.extend(port.map(|(service, port)| Target {
            service,
            port,
            subset: None,
            document: None,
        }));
    }
    targets
}

/// The ports that a rule's listeners choose, and whether one of them chooses none.
fn chosen<'a>(
    service: &'a Service,
    rule: &HttpRule,
    document: &VirtualService,
    listeners: &[(String, Option<u16>)],
) -> (Vec<&'a ServicePort>, bool) {
    let mut chosen = Vec::new();
    let mut missing = false;
    for (gateway, port) in listeners {
        let listener = Listener {
            port: *port,
            gateway,
            source: None,
        };
        let reached = rule.matches.is_empty()
            || rule
                .matches
                .iter()
                .any(|found| holds(found, document, listener));
        if !reached {
            continue;
        }
        match implied_port(service, *port) {
            Some(port) => chosen.push(port),
            None => missing = true,
        }
    }
    (chosen, missing)
}

fn no_port(host: &Spanned<String>, service: &Service) -> Diagnostic {
    let ports: Vec<String> = service
        .ports
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    let http = service.ports.iter().any(|port| port.protocol.is_http());
    let problem = if http {
        "has several ports, and none is chosen"
    } else {
        "has no HTTP port"
    };
    let message = format!("`{}` {problem}", service.host);
    let help = format!("add `port: {{number: …}}` with one of {}", ports.join(", "));
    Diagnostic::error(codes::UNKNOWN_PORT, host.at.clone(), &host.path, message).with_help(help)
}
