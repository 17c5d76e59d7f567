//! Which VirtualService routes which host of the mesh.

use std::collections::HashMap;
use std::sync::Arc;

use crate::audience::{Audience, Reach};
use crate::document::{DocumentSet, Spanned, VirtualService};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};

/// The gateway name that means every sidecar.
pub(crate) const MESH: &str = "mesh";

/// Which documents route which host of the mesh, for every sidecar alike.
///
/// Among those that a sidecar sees, the one with the narrowest `exportTo` wins: a namespace may have routes of its own
/// beside those for everybody.
#[derive(Debug, Default)]
pub(crate) struct Owners<'a> {
    /// By canonical host.
    services: HashMap<Arc<str>, Claims<'a>>,
    /// By the text behind the star.
    wildcards: HashMap<Box<str>, Claims<'a>>,
    /// Hosts that no document declares, and wildcards; the narrowest first.
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

/// The documents that route one host, the narrowest first; nearly always one.
#[derive(Debug, Default)]
struct Claims<'a>(Vec<Claim<'a>>);

#[derive(Debug)]
struct Claim<'a> {
    reach: Reach,
    audience: Audience,
    document: &'a VirtualService,
}

impl<'a> Claims<'a> {
    /// Adds a document, unless another one is as near to somebody who sees both: that one is the answer then.
    fn add(&mut self, document: &'a VirtualService, mesh: &Mesh) -> Option<&'a VirtualService> {
        // Several names of one service in one document are fine.
        if (self.0.iter()).any(|claim| std::ptr::eq(claim.document, document)) {
            return None;
        }
        let audience = mesh.audience_of_routes(document);
        let reach = audience.reach(&document.meta.namespace);
        let rival = self
            .0
            .iter()
            .find(|claim| claim.reach == reach && claim.audience.meets(&audience));
        if let Some(rival) = rival {
            return Some(rival.document);
        }
        let place = self.0.partition_point(|claim| claim.reach <= reach);
        let claim = Claim {
            reach,
            audience,
            document,
        };
        self.0.insert(place, claim);
        None
    }

    fn documents(&self) -> impl Iterator<Item = &'a VirtualService> {
        self.0.iter().map(|claim| claim.document)
    }
}

impl<'a> Owners<'a> {
    /// In the mesh one document owns a host: Istio silently takes the oldest of several, files have no age.
    pub(crate) fn of_mesh(documents: &'a DocumentSet, registry: &Registry, mesh: &Mesh) -> Self {
        let mut owners = Self::default();
        let mut known: HashMap<HostPattern, Claims<'a>> = HashMap::new();
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
                let service = service.filter(|service| !service.host.starts_with('*'));
                let claims = match service {
                    Some(service) => owners
                        .services
                        .entry(Arc::clone(&service.host))
                        .or_default(),
                    None => known.entry(pattern.clone()).or_default(),
                };
                if let Some(owner) = claims.add(document, mesh) {
                    owners.conflicts.push(Conflict { host, owner });
                } else if service.is_none() {
                    owners.undeclared.push((pattern, document));
                }
            }
        }
        if known.values().any(|claims| claims.0.len() > 1) {
            let reach = |document: &VirtualService| {
                mesh.audience_of_routes(document)
                    .reach(&document.meta.namespace)
            };
            owners
                .undeclared
                .sort_by_key(|(_, document)| reach(document));
        }
        for (pattern, claims) in known {
            if let HostPattern::Suffix(suffix) = pattern {
                owners.wildcards.insert(suffix, claims);
            }
        }
        owners
    }

    /// Every document that routes a service for some sidecar, the narrowest first: by its name, and by wildcards from
    /// long to short.
    pub(crate) fn of(&self, service: &Service) -> impl Iterator<Item = &'a VirtualService> {
        let exact = self.services.get(&service.host);
        let wildcards = (!self.wildcards.is_empty()).then(|| {
            // From left to right the suffixes grow shorter.
            let dots = service.host.char_indices().skip(1);
            dots.filter(|(_, character)| *character == '.')
                .filter_map(|(dot, _)| self.wildcards.get(service.host.get(dot..)?))
        });
        exact
            .into_iter()
            .chain(wildcards.into_iter().flatten())
            .flat_map(Claims::documents)
    }
}

/// Whether sidecars look at a document.
pub(crate) fn is_bound_to_mesh(document: &VirtualService) -> bool {
    let gateways = &document.gateways;
    gateways.is_empty() || gateways.iter().any(|gateway| gateway.value == MESH)
}
