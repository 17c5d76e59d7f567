//! Which VirtualService routes which host of the mesh.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::{DocumentSet, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::registry::{Registry, Service};

/// The gateway name that means every sidecar.
pub(crate) const MESH: &str = "mesh";

/// Which document routes which host of the mesh, for every sidecar alike.
#[derive(Debug, Default)]
pub(crate) struct Owners<'a> {
    /// By canonical host.
    services: HashMap<Arc<str>, &'a VirtualService>,
    /// By the text behind the star.
    wildcards: HashMap<Box<str>, &'a VirtualService>,
    /// Hosts that no document declares, and wildcards.
    pub(crate) undeclared: Vec<(HostPattern, &'a VirtualService)>,
    /// Hosts that a second document claims.
    pub(crate) conflicts: Vec<Conflict<'a>>,
}

/// A host that a document claims although another one has it.
#[derive(Debug)]
pub(crate) struct Conflict<'a> {
    /// The host in the later document.
    pub(crate) host: &'a Spanned<String>,
    /// The earlier document.
    pub(crate) owner: &'a VirtualService,
}

impl<'a> Owners<'a> {
    /// In the mesh one document owns a host: Istio silently takes the oldest of several, files have no age.
    pub(crate) fn of_mesh(documents: &'a DocumentSet, registry: &Registry) -> Self {
        let mut owners = Self::default();
        let mut known: HashMap<HostPattern, &VirtualService> = HashMap::new();
        for document in documents
            .virtual_services
            .iter()
            .map(|document| &**document)
            .filter(|document| is_bound_to_mesh(document))
        {
            for host in &document.hosts {
                let pattern = HostPattern::parse(host);
                let service = match &pattern {
                    HostPattern::Exact(name) => registry.lookup(name, &document.meta.namespace),
                    _ => None,
                };
                if let Some(service) = service.filter(|service| !service.host.starts_with('*')) {
                    match owners.services.get(&service.host) {
                        // Several names of one service in one document are fine.
                        Some(owner) if !std::ptr::eq(*owner, document) => {
                            owners.conflicts.push(Conflict { host, owner });
                        }
                        _ => {
                            owners.services.insert(Arc::clone(&service.host), document);
                        }
                    }
                    continue;
                }
                if let Some(owner) = known.get(&pattern) {
                    owners.conflicts.push(Conflict { host, owner });
                    continue;
                }
                if let HostPattern::Suffix(suffix) = &pattern {
                    owners.wildcards.insert(suffix.clone(), document);
                }
                known.insert(pattern.clone(), document);
                owners.undeclared.push((pattern, document));
            }
        }
        owners
    }

    /// The document that routes a service: by its name, else by the longest wildcard.
    pub(crate) fn of(&self, service: &Service) -> Option<&'a VirtualService> {
        if let Some(document) = self.services.get(&service.host) {
            return Some(document);
        }
        if self.wildcards.is_empty() {
            return None;
        }
        // From left to right the suffixes grow shorter.
        let dots = service.host.char_indices().skip(1);
        dots.filter(|(_, character)| *character == '.')
            .find_map(|(dot, _)| self.wildcards.get(service.host.get(dot..)?))
            .copied()
    }
}

/// Whether sidecars look at a document.
pub(crate) fn is_bound_to_mesh(document: &VirtualService) -> bool {
    let gateways = &document.gateways;
    gateways.is_empty() || gateways.iter().any(|gateway| gateway.value == MESH)
}
