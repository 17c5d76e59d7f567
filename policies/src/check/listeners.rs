//! Where the routes of documents stand, and whether the ports that matches ask for are among them.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Gateway, VirtualService};
use crate::registry::Registry;
use crate::route::{Listener, MESH, Owners, bound_hosts, holds, qualified_gateway};

/// Finds matches on ports that no listener of their document has.
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
            let own = of_document.get_or_insert_with(|| listeners.of(document, registry));
            let stands = |(gateway, port): &(String, Option<u16>)| {
                let (port, source) = (*port, None);
                let listener = Listener {
                    port,
                    gateway,
                    source,
                };
                holds(matched, document, listener)
            };
            // What stands nowhere is reported elsewhere.
            if own.is_empty() || own.iter().any(stands) {
                continue;
            }
            let ports: BTreeSet<u16> = own.iter().filter_map(|(_, port)| *port).collect();
            let ports: Vec<String> = ports.into_iter().map(|port| port.to_string()).collect();
            let message = format!(
                "this match never holds: requests for the hosts of {} do not come by port {port}",
                document.meta
            );
            let help = format!("they come by {}", ports.join(", "));
            let (at, path) = (port.at.clone(), &port.path);
            found.push(
                Diagnostic::warning(codes::UNMATCHED_PORT, at, path, message).with_help(help),
            );
        }
    }
}

/// Where the routes of documents may stand: ports by gateway.
pub(super) struct Listeners<'a> {
    gateways: HashMap<String, &'a Gateway>,
    /// The ports of the services that a document owns in the mesh.
    mesh: HashMap<*const VirtualService, BTreeSet<u16>>,
    /// Documents that own hosts in the mesh which no document declares.
    undeclared: HashSet<*const VirtualService>,
}

impl<'a> Listeners<'a> {
    pub(super) fn new(
        documents: &'a DocumentSet,
        registry: &Registry,
        owners: &Owners<'a>,
    ) -> Self {
        let mut mesh: HashMap<*const VirtualService, BTreeSet<u16>> = HashMap::new();
        for service in registry.services() {
            if let Some(owner) = owners.of(service) {
                let http = service.ports.iter().filter(|port| port.protocol.is_http());
                let ports = mesh.entry(&raw const *owner).or_default();
                ports.extend(http.map(|port| port.number));
            }
        }
        Self {
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

    pub(super) fn of(
        &self,
        document: &VirtualService,
        registry: &Registry,
    ) -> Vec<(String, Option<u16>)> {
        let address = &raw const *document;
        let mut listeners = Vec::new();
        if let Some(ports) = self.mesh.get(&address) {
            listeners.extend(ports.iter().map(|port| (MESH.to_owned(), Some(*port))));
        }
        if self.undeclared.contains(&address) {
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
                .filter(|server| !server.tls.as_ref().is_some_and(|tls| tls.https_redirect))
                .filter(|server| !bound_hosts(gateway, server, document, registry).is_empty())
                .map(|server| *server.port.number)
                .collect();
            listeners.extend(ports.into_iter().map(|port| (name.clone(), Some(port))));
        }
        listeners
    }
}
