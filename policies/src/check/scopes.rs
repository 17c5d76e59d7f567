//! Whether what documents lead to can be seen by those who are led there.

use crate::audience::Audience;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Destination, DocumentSet, EgressHost, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::route::is_bound_to_mesh;

/// Finds destinations that some clients do not see, and hosts of Sidecars that mean nothing.
pub(super) fn check(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let narrow = |audience: &Audience| *audience != Audience::Everywhere;
    if registry.services().any(|service| narrow(&service.audience)) {
        let in_mesh = documents.virtual_services.iter();
        for document in in_mesh.filter(|document| is_bound_to_mesh(document)) {
            let audience = mesh.audience_of_routes(document);
            for destination in destinations(document) {
                found.extend(hidden(document, destination, &audience, registry));
            }
        }
    }
    for sidecar in &documents.sidecars {
        let hosts = sidecar.egress.iter().flat_map(|listener| &listener.hosts);
        for host in hosts {
            let namespace = match host.namespace.as_str() {
                // There it is the namespace of each workload.
                "." if sidecar.meta.namespace == mesh.root_namespace => continue,
                "." => sidecar.meta.namespace.as_str(),
                other => other,
            };
            if namespace != "~" && !means_something(host, namespace, documents, registry) {
                found.push(unknown(host, namespace));
            }
        }
    }
}

fn destinations(document: &VirtualService) -> impl Iterator<Item = &Destination> {
    let http = document.http.iter().flat_map(|rule| &rule.route);
    let opaque = document.tls.iter().chain(&document.tcp);
    let opaque = opaque.flat_map(|rule| &rule.route);
    http.map(|weighted| &weighted.destination)
        .chain(opaque.map(|weighted| &weighted.destination))
}

fn hidden(
    document: &VirtualService,
    destination: &Destination,
    audience: &Audience,
    registry: &Registry,
) -> Option<Diagnostic> {
    let host = &destination.host;
    let service = registry.lookup(host, &document.meta.namespace)?;
    if audience.within(&service.audience) {
        return None;
    }
    let message = format!(
        "some clients of these routes do not see `{}`, which is exported to {}: they get no answer from it",
        service.host,
        listed(&service.audience)
    );
    let help = format!(
        "export {} to the same namespaces, or the service to more",
        document.meta
    );
    let (at, path) = (host.at.clone(), &host.path);
    Some(Diagnostic::warning(codes::HIDDEN_SERVICE, at, path, message).with_help(help))
}

fn listed(audience: &Audience) -> String {
    let names: Vec<String> = audience.names().map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}

/// Whether a namespace has a service or a route of the host; `*` always means what there is.
fn means_something(
    host: &EgressHost,
    namespace: &str,
    documents: &DocumentSet,
    registry: &Registry,
) -> bool {
    let pattern = HostPattern::parse(&host.host);
    if pattern == HostPattern::Any {
        return true;
    }
    let there = |own: &str| namespace == "*" || namespace == own;
    let service = registry.services().any(|service| {
        let mut names = service.aliases.iter().chain([&service.name]);
        there(&service.namespace) && names.any(|name| pattern.covers(&HostPattern::parse(name)))
    });
    service
        || documents.virtual_services.iter().any(|document| {
            let mut hosts = document.hosts.iter();
            let meets = |host: &Spanned<String>| pattern.intersect(&HostPattern::parse(host));
            there(&document.meta.namespace) && hosts.any(|host| meets(host).is_some())
        })
}

fn unknown(host: &Spanned<EgressHost>, namespace: &str) -> Diagnostic {
    let name = &host.host;
    let place = match namespace {
        "*" => "any namespace".to_owned(),
        own => format!("the namespace `{own}`"),
    };
    let message = format!("no service and no route is called `{name}` in {place}");
    let (at, path) = (host.at.clone(), &host.path);
    Diagnostic::warning(codes::UNKNOWN_EGRESS_HOST, at, path, message)
        .with_help("declare it with a ServiceEntry, or correct the name")
}
