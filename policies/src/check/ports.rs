//! Which clusters some proxy has to have, and whether the port of each is known.

use std::collections::HashSet;

use super::listeners::{Layer, Listeners};
use crate::cluster::providers;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HttpRule, Spanned, VirtualService};
use crate::mesh::Mesh;
use crate::registry::{Registry, Service, ServicePort};
use crate::route::{Listener, Owners, holds, implied_port, opaque};

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
        // Opaque ports lead to their own service where no rule takes everything.
        let routed = owners.of(service).any(|document| !document.http.is_empty());
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
            let mirrors = rule.mirrors.iter().map(|mirror| &mirror.destination);
            let destinations = rule.route.iter().map(|weighted| &weighted.destination);
            for destination in destinations.chain(mirrors) {
                let namespace = &document.meta.namespace;
                let Some(service) = registry.lookup(&destination.host, namespace) else {
                    continue;
                };
                let ports = if let Some(number) = &destination.port {
                    service.port(**number).into_iter().collect()
                } else if let Some(only) = implied_port(service, None) {
                    vec![only]
                } else {
                    let listeners = of_document
                        .get_or_insert_with(|| listeners.of(document, registry, Layer::Http));
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
    for document in documents
        .virtual_services
        .iter()
        .map(|document| &**document)
    {
        opaque(document, registry, listeners, &mut targets, found);
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

/// The targets of a document's `tcp` and `tls` routes.
fn opaque<'a>(
    document: &'a VirtualService,
    registry: &'a Registry,
    listeners: &Listeners<'a>,
    targets: &mut Vec<Target<'a>>,
    found: &mut Vec<Diagnostic>,
) {
    let of_document: Vec<_> = [Layer::Tls, Layer::Tcp]
        .into_iter()
        .zip([&document.tls, &document.tcp])
        .filter(|(_, rules)| !rules.is_empty())
        .map(|(layer, rules)| (rules, listeners.of(document, registry, layer)))
        .collect();
    for (rules, listeners) in &of_document {
        for (rule, weighted) in rules
            .iter()
            .flat_map(|rule| rule.route.iter().map(move |weighted| (rule, weighted)))
        {
            let destination = &weighted.destination;
            let Some(service) = registry.lookup(&destination.host, &document.meta.namespace) else {
                continue;
            };
            let mut ports: Vec<&ServicePort> = Vec::new();
            if let Some(number) = &destination.port {
                ports.extend(service.port(**number));
            } else {
                let reached = listeners.iter().filter(|(gateway, port)| {
                    let listener = Listener {
                        port: *port,
                        gateway,
                        source: None,
                    };
                    let holds = |matched| opaque::holds(matched, document, listener);
                    rule.matches.is_empty() || rule.matches.iter().any(holds)
                });
                let chosen: Vec<_> = reached
                    .map(|(_, port)| opaque::implied_port(service, *port))
                    .collect();
                if chosen.iter().any(Option::is_none) {
                    found.push(no_opaque_port(&destination.host, service));
                }
                ports.extend(chosen.into_iter().flatten());
            }
            let ports = ports.into_iter().filter(|port| !port.protocol.is_http());
            targets.extend(ports.map(|port| Target {
                service,
                port,
                subset: destination.subset.as_ref(),
                document: Some(document),
            }));
        }
    }
}

fn no_opaque_port(host: &Spanned<String>, service: &Service) -> Diagnostic {
    let opaque: Vec<String> = (service.ports.iter())
        .filter(|port| !port.protocol.is_http())
        .map(|port| port.number.to_string())
        .collect();
    let (problem, help) = if opaque.is_empty() {
        let help = "declare a port of the service as TCP, TLS or HTTPS".to_owned();
        ("has no port whose bytes are passed on as they are", help)
    } else {
        let help = format!(
            "add `port: {{number: …}}` with one of {}",
            opaque.join(", ")
        );
        ("has several ports, and none is chosen", help)
    };
    let message = format!("`{}` {problem}", service.host);
    Diagnostic::error(codes::UNKNOWN_PORT, host.at.clone(), &host.path, message).with_help(help)
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
