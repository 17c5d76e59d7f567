//! Where the routes of documents stand, and whether the ports that matches ask for are among them.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{
    DocumentSet, Gateway, L4Rule, Protocol, Server, ServerTlsMode, Spanned, VirtualService,
};
use crate::registry::{Registry, Service, ServicePort};
use crate::route::{
    Delegates, Listener, MESH, Owners, bound_hosts, holds, opaque, qualified_gateway,
};

/// Finds matches on ports that no listener of their document has, and `tcp` and `tls` routes that stand nowhere.
pub(super) fn check(
    documents: &DocumentSet,
    registry: &Registry,
    listeners: &Listeners<'_>,
    found: &mut Vec<Diagnostic>,
) {
    for document in &documents.virtual_services {
        let mut of_document = None;
        for matched in document.http.iter().flat_map(|rule| &rule.matches) {
            let Some(port) = &matched.port else { continue };
            let own =
                of_document.get_or_insert_with(|| listeners.of(document, registry, Layer::Http));
            let stands = |listener: Listener<'_>| holds(matched, document, listener);
            found.extend(unmatched(document, port, own, "requests", stands));
        }
        for (layer, name, rules) in [
            (Layer::Tls, "tls", &document.tls),
            (Layer::Tcp, "tcp", &document.tcp),
        ] {
            let Some(first) = rules.first() else { continue };
            let own = listeners.of(document, registry, layer);
            if own.is_empty() {
                found.push(nowhere(document, name, first));
                continue;
            }
            for matched in rules.iter().flat_map(|rule| &rule.matches) {
                let Some(port) = &matched.port else { continue };
                let stands = |listener: Listener<'_>| opaque::holds(matched, document, listener);
                found.extend(unmatched(document, port, &own, "connections", stands));
            }
        }
    }
}

/// A match on a port that none of its listeners has; what stands nowhere is reported elsewhere.
fn unmatched(
    document: &VirtualService,
    port: &Spanned<u16>,
    own: &[(String, Option<u16>)],
    what: &str,
    stands: impl Fn(Listener<'_>) -> bool,
) -> Option<Diagnostic> {
    let mut listeners = own.iter().map(|(gateway, port)| Listener {
        port: *port,
        gateway,
        source: None,
    });
    if own.is_empty() || listeners.any(stands) {
        return None;
    }
    let ports: BTreeSet<u16> = own.iter().filter_map(|(_, port)| *port).collect();
    let elsewhere = ports.contains(&port.value);
    let ports: Vec<String> = ports.into_iter().map(|port| port.to_string()).collect();
    let place = if elsewhere { " where it stands" } else { "" };
    let message = format!(
        "this match never holds: {what} for the hosts of {} do not come by port {port}{place}",
        document.meta
    );
    let help = if elsewhere {
        "they do at other `gateways`; `mesh` has the ports of the declared service".to_owned()
    } else {
        format!("they come by {}", ports.join(", "))
    };
    let (at, path) = (port.at.clone(), &port.path);
    Some(Diagnostic::warning(codes::UNMATCHED_PORT, at, path, message).with_help(help))
}

/// `tcp` or `tls` routes for which there is neither a service port nor a server.
fn nowhere(document: &VirtualService, name: &str, first: &L4Rule) -> Diagnostic {
    let wanted = match name {
        "tls" => "a service port with the protocol TLS or HTTPS, or a server with PASSTHROUGH",
        _ => "a service port with the protocol TCP, or a server with the protocol TCP or TLS",
    };
    let message = format!(
        "the `{name}` routes of {} stand nowhere: neither a service nor a gateway has a port for them",
        document.meta
    );
    let (at, path) = (first.at.clone(), &first.path);
    Diagnostic::warning(codes::ROUTES_STAND_NOWHERE, at, path, message)
        .with_help(format!("they need {wanted}"))
}

/// Which routes of a document are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// `http`.
    Http,
    /// `tls`.
    Tls,
    /// `tcp`.
    Tcp,
}

impl Layer {
    /// Whether a service port has such routes on sidecars.
    fn is_of(self, port: &ServicePort) -> bool {
        let layer = match port.protocol {
            protocol if protocol.is_http() => Self::Http,
            Protocol::Tls | Protocol::Https => Self::Tls,
            _ => Self::Tcp,
        };
        self == layer
    }

    /// Whether a server of a gateway has such routes.
    fn serves(self, server: &Server) -> bool {
        let tls = server.tls.as_ref();
        let layer = match *server.port.protocol {
            _ if tls.is_some_and(|tls| tls.https_redirect) => return false,
            _ if tls.and_then(|tls| tls.mode) == Some(ServerTlsMode::Passthrough) => Self::Tls,
            Protocol::Tls | Protocol::Tcp => Self::Tcp,
            _ => Self::Http,
        };
        self == layer
    }
}

/// Where the routes of documents may stand: ports by gateway.
pub(super) struct Listeners<'a> {
    gateways: HashMap<String, &'a Gateway>,
    /// The services that a document routes in the mesh.
    mesh: HashMap<*const VirtualService, Vec<&'a Service>>,
    /// Documents that own hosts in the mesh which no document declares.
    undeclared: HashSet<*const VirtualService>,
    /// The documents that delegate to one.
    delegating: HashMap<*const VirtualService, Vec<&'a VirtualService>>,
}

impl<'a> Listeners<'a> {
    pub(super) fn new(
        documents: &'a DocumentSet,
        registry: &'a Registry,
        owners: &Owners<'a>,
    ) -> Self {
        let mut mesh: HashMap<*const VirtualService, Vec<&Service>> = HashMap::new();
        for service in registry.services() {
            for owner in owners.of(service) {
                mesh.entry(&raw const *owner).or_default().push(service);
            }
        }
        let delegates = Delegates::new(documents);
        let mut delegating: HashMap<*const VirtualService, Vec<&VirtualService>> = HashMap::new();
        for document in &documents.virtual_services {
            for delegate in document
                .http
                .iter()
                .filter_map(|rule| delegates.of(rule, document))
            {
                let to = delegating.entry(&raw const *delegate).or_default();
                to.push(document);
            }
        }
        Self {
            delegating,
            gateways: documents
                .gateways
                .iter()
                .map(|gateway| (gateway.meta.qualified(), &**gateway))
                .collect(),
            mesh,
            undeclared: owners
                .undeclared
                .iter()
                .map(|(_, document)| &raw const **document)
                .collect(),
        }
    }

    /// Gateways and ports; those of a delegate are those of the documents that delegate to it.
    pub(super) fn of(
        &self,
        document: &VirtualService,
        registry: &Registry,
        layer: Layer,
    ) -> Vec<(String, Option<u16>)> {
        let address = &raw const *document;
        if let Some(roots) = self.delegating.get(&address) {
            let roots = roots.iter();
            return roots
                .flat_map(|root| self.of_hosts(root, registry, layer))
                .collect();
        }
        self.of_hosts(document, registry, layer)
    }

    fn of_hosts(
        &self,
        document: &VirtualService,
        registry: &Registry,
        layer: Layer,
    ) -> Vec<(String, Option<u16>)> {
        let address = &raw const *document;
        let mut listeners = Vec::new();
        if let Some(services) = self.mesh.get(&address) {
            let ports: BTreeSet<u16> = services
                .iter()
                .flat_map(|service| &service.ports)
                .filter(|port| layer.is_of(port))
                .map(|port| port.number)
                .collect();
            let of_mesh = |port| (MESH.to_owned(), Some(port));
            listeners.extend(ports.into_iter().map(of_mesh));
        }
        if layer == Layer::Http && self.undeclared.contains(&address) {
            listeners.push((MESH.to_owned(), None));
        }
        for gateway in &document.gateways {
            let name = qualified_gateway(gateway, &document.meta.namespace);
            let Some(gateway) = self.gateways.get(&name) else {
                continue;
            };
            let ports: BTreeSet<u16> = gateway
                .servers
                .iter()
                .filter(|server| layer.serves(server))
                .filter(|server| !bound_hosts(gateway, server, document, registry).is_empty())
                .map(|server| *server.port.number)
                .collect();
            listeners.extend(ports.into_iter().map(|port| (name.clone(), Some(port))));
        }
        listeners
    }
}
