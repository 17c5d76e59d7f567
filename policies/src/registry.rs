//! The services that documents declare, and what short host names mean.

mod build;
mod name;
mod workloads;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use thiserror::Error;

pub use crate::document::{MeshLocation, Protocol, Resolution};

use crate::audience::Audience;
use crate::cluster::Endpoint;
use crate::diagnostic::Diagnostic;
use crate::document::{DocumentSet, Spanned};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::source::Location;

/// Every declared service.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Vec<Service>,
    /// Every name that means one service wherever it is written.
    by_name: HashMap<Arc<str>, usize>,
    /// First label to services: short names, resolved by namespace and then if unique.
    by_short_name: HashMap<Arc<str>, Vec<usize>>,
    /// Services with a wildcard host, longest suffix first.
    wildcards: Vec<(HostPattern, usize)>,
}

/// A declared service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its canonical host: `name.namespace.svc.cluster.local` for services of the mesh, the host as written otherwise.
    pub host: Arc<str>,
    /// Its name: the first label of a mesh service, the host otherwise.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// All its names but the short one: `name.ns`, `name.ns.svc`, `name.ns.svc.cluster.local`.
    pub aliases: Vec<Arc<str>>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh.
    pub location: MeshLocation,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// What one of its servers' certificates has to be for, when it is reached by TLS (`subjectAltNames`).
    pub subject_alt_names: Arc<[Spanned<String>]>,
    /// Its endpoints; their port is chosen per service port, see [`ServiceEndpoint`].
    pub endpoints: Vec<ServiceEndpoint>,
    /// Whether it has a `workloadSelector`, so that workloads that register later become its endpoints.
    pub selects: bool,
    /// The namespaces that see it.
    pub audience: Audience,
    /// Where it is declared.
    pub at: Location,
}

/// An endpoint of a service before a service port is chosen.
#[derive(Clone, Debug)]
pub struct ServiceEndpoint {
    /// The endpoint; its port is that of the first service port.
    pub endpoint: Endpoint,
    /// Endpoint ports by service port name where they differ.
    pub ports: BTreeMap<String, u16>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that clients name.
    pub number: u16,
    /// Its name.
    pub name: Arc<str>,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The port of the endpoints.
    pub target_port: u16,
}

impl Service {
    /// The port of that number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }
}

/// Why a host name means no service.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// No document declares it.
    #[error("no document declares the host")]
    Unknown {
        /// The declared name that is most alike.
        nearest: Option<String>,
    },
    /// Several services have this short name, none in the asking namespace.
    #[error("the short name means several services: {}", .candidates.join(", "))]
    Ambiguous {
        /// Their canonical hosts.
        candidates: Vec<String>,
    },
}

impl Registry {
    /// Collects the services of a document set.
    pub fn build(documents: &DocumentSet, mesh: &Mesh) -> (Self, Vec<Diagnostic>) {
        build::build(documents, mesh)
    }

    /// Every service, in document order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter()
    }

    /// The service that a host name means in a namespace: its own, then a unique one anywhere.
    pub fn resolve(&self, name: &str, from_ns: &str) -> Result<&Service, HostError> {
        name::resolve(self, name, from_ns)
    }

    /// As [`resolve`](Self::resolve), without the nearest name: cheap also when there is no service.
    pub fn lookup(&self, name: &str, from_ns: &str) -> Option<&Service> {
        name::lookup(self, name, from_ns).ok()
    }
}
