//! What one proxy sees: services and routes that are exported to it, and that its Sidecar document asks for.

use crate::document::{DocumentSet, EgressListener, OutboundTrafficMode, Sidecar, VirtualService};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};
use crate::route::Proxy;
use crate::workload::Workload;

/// What one proxy sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    namespace: &'a str,
    mesh: &'a Mesh,
    sidecar: Option<&'a Sidecar>,
    is_sidecar: bool,
}

impl<'a> Scope<'a> {
    /// The scope of a proxy: that of its own Sidecar document (Istio: by selector, else its namespace's, else the root
    /// namespace's). Gateways have none.
    pub(crate) fn of(documents: &'a DocumentSet, mesh: &'a Mesh, proxy: Proxy<'a>) -> Self {
        let (sidecar, is_sidecar) = match proxy {
            Proxy::Gateway { .. } => (None, false),
            Proxy::Sidecar { workload } => (sidecar_of(documents, mesh, workload), true),
        };
        Self {
            namespace: &proxy.workload().namespace,
            mesh,
            sidecar,
            is_sidecar,
        }
    }

    /// The document that makes the scope, if there is one.
    pub(crate) fn sidecar(&self) -> Option<&'a Sidecar> {
        self.sidecar
    }

    /// What becomes of calls to hosts that no document declares.
    pub(crate) fn outbound(&self) -> OutboundTrafficMode {
        if !self.is_sidecar {
            return OutboundTrafficMode::RegistryOnly;
        }
        let own = self
            .sidecar
            .and_then(|sidecar| sidecar.outbound_traffic_policy.as_ref());
        own.map_or(self.mesh.outbound_traffic, |policy| policy.mode)
    }

    /// Whether a service is exported to the proxy's namespace: only then can routes lead there.
    pub(crate) fn exports(&self, service: &Service) -> bool {
        service.audience.includes(self.namespace)
    }

    /// Whether the proxy answers for a port of a service.
    pub(crate) fn sees(&self, service: &Service, port: u16) -> bool {
        self.exports(service)
            && self.egress().is_none_or(|listeners| {
                listeners
                    .iter()
                    .filter(|listener| takes(listener, port))
                    .any(|listener| self.imports_service(listener, service))
            })
    }

    /// Whether the proxy looks at the routes of a document.
    pub(crate) fn sees_routes(&self, document: &VirtualService, registry: &Registry) -> bool {
        self.mesh
            .audience_of_routes(document)
            .includes(self.namespace)
            && self.egress().is_none_or(|listeners| {
                listeners
                    .iter()
                    .any(|listener| self.imports_routes(listener, document, registry))
            })
    }

    /// The listeners of the Sidecar; none lets everything be seen.
    fn egress(&self) -> Option<&'a [EgressListener]> {
        let listeners = self.sidecar?.egress.as_slice();
        (!listeners.is_empty()).then_some(listeners)
    }

    fn imports_service(&self, listener: &EgressListener, service: &Service) -> bool {
        listener.hosts.iter().any(|wanted| {
            let pattern = HostPattern::parse(&wanted.host);
            self.is_namespace(&wanted.namespace, &service.namespace)
                && names(service).any(|name| pattern.covers(&HostPattern::parse(name)))
        })
    }

    fn imports_routes(
        &self,
        listener: &EgressListener,
        document: &VirtualService,
        registry: &Registry,
    ) -> bool {
        let namespace = document.meta.namespace.as_str();
        listener.hosts.iter().any(|wanted| {
            let pattern = HostPattern::parse(&wanted.host);
            self.is_namespace(&wanted.namespace, namespace)
                && document.hosts.iter().any(|host| {
                    let written = HostPattern::parse(host);
                    let service = match &written {
                        HostPattern::Exact(name) => registry.lookup(name, namespace),
                        _ => None,
                    };
                    pattern.intersect(&written).is_some()
                        || service.is_some_and(|service| {
                            names(service).any(|name| pattern.covers(&HostPattern::parse(name)))
                        })
                })
        })
    }

    /// Whether the namespace part of an egress host means `namespace`. `.` is the proxy's own, also in a Sidecar of the root
    /// namespace (Istio).
    fn is_namespace(&self, wanted: &str, namespace: &str) -> bool {
        match wanted {
            "*" => true,
            "." => self.namespace == namespace,
            wanted => wanted == namespace,
        }
    }
}

/// A listener with a port is for services on this port; one on a Unix socket (port 0) or without a port for all.
fn takes(listener: &EgressListener, port: u16) -> bool {
    listener
        .port
        .as_ref()
        .is_none_or(|wanted| matches!(wanted.number.value, 0) || wanted.number.value == port)
}

/// Every name that documents may call a service by.
fn names(service: &Service) -> impl Iterator<Item = &str> {
    let aliases = service.aliases.iter().map(|alias| &**alias);
    aliases.chain([&*service.name])
}

fn sidecar_of<'a>(
    documents: &'a DocumentSet,
    mesh: &Mesh,
    workload: &Workload,
) -> Option<&'a Sidecar> {
    let of = |namespace: &str, selected: bool| {
        documents
            .sidecars
            .iter()
            .map(|sidecar| &**sidecar)
            .find(|sidecar| {
                let selector = sidecar.workload_selector.as_ref();
                let selector = selector.filter(|selector| !selector.is_empty());
                sidecar.meta.namespace == namespace
                    && match selector {
                        Some(selector) => selected && selector.matches(&workload.labels),
                        None => !selected,
                    }
            })
    };
    of(&workload.namespace, true)
        .or_else(|| of(&workload.namespace, false))
        .or_else(|| of(&mesh.root_namespace, false))
}
