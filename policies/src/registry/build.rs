//! Services from ServiceEntry and WorkloadEntry documents.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::name::{Declared, aliases, declared};
use super::workloads::Workloads;
use super::{Registry, Service, ServiceEndpoint, ServicePort};
use crate::cluster::{Endpoint, EndpointAddress, EndpointWorkload};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{
    DocumentSet, Resolution, ServiceEntry, Spanned, WorkloadAddress, WorkloadSpec,
};
use crate::host::HostPattern;
use crate::mesh::Mesh;

pub(super) fn build(documents: &DocumentSet, mesh: &Mesh) -> (Registry, Vec<Diagnostic>) {
    let mut namespaces: HashSet<&str> = documents
        .metas()
        .map(|meta| meta.namespace.as_str())
        .collect();
    namespaces.extend([
        mesh.default_namespace.as_str(),
        mesh.root_namespace.as_str(),
    ]);
    let mut building = Building {
        workloads: Workloads::of(documents),
        mesh,
        namespaces,
        registry: Registry::default(),
        diagnostics: Vec::new(),
    };
    for entry in &documents.service_entries {
        for host in &entry.hosts {
            building.service(entry, host);
        }
    }
    let Building {
        mut registry,
        diagnostics,
        ..
    } = building;
    registry
        .wildcards
        .sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.to_string().len()));
    (registry, diagnostics)
}

struct Building<'a> {
    workloads: Workloads<'a>,
    mesh: &'a Mesh,
    namespaces: HashSet<&'a str>,
    registry: Registry,
    diagnostics: Vec<Diagnostic>,
}

impl Building<'_> {
    fn service(&mut self, entry: &ServiceEntry, host: &Spanned<String>) {
        let declared = declared(host, &entry.meta.namespace, &self.namespaces);
        let (canonical, name, namespace, aliases): (Arc<str>, Arc<str>, Arc<str>, Vec<Arc<str>>) =
            match &declared {
                Declared::Mesh { name, namespace } => {
                    let aliases = aliases(name, namespace).map(Arc::from);
                    let [.., canonical] = &aliases;
                    (
                        Arc::clone(canonical),
                        name.as_str().into(),
                        namespace.as_str().into(),
                        aliases.into(),
                    )
                }
                Declared::Other(host) => {
                    let host: Arc<str> = host.as_str().into();
                    (
                        Arc::clone(&host),
                        Arc::clone(&host),
                        entry.meta.namespace.as_str().into(),
                        vec![host],
                    )
                }
            };
        let index = self.registry.services.len();
        if let Some(earlier) = self
            .registry
            .by_name
            .get(&canonical)
            .and_then(|index| self.registry.services.get(*index))
        {
            let message = format!(
                "the service `{canonical}` is declared twice, first at {}",
                earlier.at
            );
            self.diagnostics.push(Diagnostic::error(
                codes::CONFLICTING_HOST,
                host.at.clone(),
                &host.path,
                message,
            ));
            return;
        }
        for alias in &aliases {
            self.registry.by_name.insert(Arc::clone(alias), index);
        }
        match (&declared, HostPattern::parse(&canonical)) {
            (Declared::Mesh { .. }, _) => {
                self.registry
                    .by_short_name
                    .entry(Arc::clone(&name))
                    .or_default()
                    .push(index);
            }
            (_, HostPattern::Exact(_)) => {}
            (_, pattern) => self.registry.wildcards.push((pattern, index)),
        }
        let ports: Vec<ServicePort> = entry
            .ports
            .iter()
            .map(|port| ServicePort {
                number: *port.number,
                name: port.name.as_str().into(),
                protocol: port.protocol,
                target_port: port.target_port.unwrap_or(*port.number),
            })
            .collect();
        let endpoints = self.endpoints(entry, host, &canonical, &ports);
        self.registry.services.push(Service {
            host: canonical,
            name,
            namespace,
            aliases,
            ports,
            location: entry.location,
            resolution: *entry.resolution,
            subject_alt_names: entry.subject_alt_names.iter().cloned().collect(),
            endpoints,
            selects: entry.workload_selector.is_some(),
            audience: self.mesh.audience_of_service(entry),
            at: host.at.clone(),
        });
    }

    fn endpoints(
        &mut self,
        entry: &ServiceEntry,
        host: &Spanned<String>,
        canonical: &Arc<str>,
        ports: &[ServicePort],
    ) -> Vec<ServiceEndpoint> {
        let Some(first) = ports.first() else {
            return Vec::new();
        };
        let namespace = &entry.meta.namespace;
        let by_name = matches!(
            *entry.resolution,
            Resolution::Dns | Resolution::DnsRoundRobin
        );
        let selected = entry.workload_selector.iter().flat_map(|selector| {
            let workloads = self.workloads.selected(namespace, selector);
            workloads.map(|workload| (Some(workload.meta.name.as_str()), &workload.spec))
        });
        let written = entry
            .endpoints
            .iter()
            .map(|spec| (None, spec))
            .chain(selected);
        let mut endpoints = Vec::new();
        for (name, spec) in written {
            let Some(address) = &spec.address else {
                if spec.network.is_some() {
                    // It lives behind another network's gateway; the load has warned about that.
                    continue;
                }
                let message = "the endpoint has no address";
                self.diagnostics.push(Diagnostic::error(
                    codes::MISSING_FIELD,
                    spec.at.clone(),
                    &spec.path,
                    message,
                ));
                continue;
            };
            let port = spec
                .ports
                .get(&*first.name)
                .copied()
                .unwrap_or(first.target_port);
            let socket = match &address.value {
                WorkloadAddress::Ip(ip) => EndpointAddress::Socket(SocketAddr::new(*ip, port)),
                WorkloadAddress::Name(host) if by_name => EndpointAddress::Name {
                    host: host.as_str().into(),
                    port,
                },
                // The load has warned that nobody is dialled there.
                WorkloadAddress::Unix(_) => continue,
                WorkloadAddress::Name(host) => {
                    let message =
                        format!("resolution STATIC needs IP addresses, found the name `{host}`");
                    let diagnostic = Diagnostic::error(
                        codes::INVALID_VALUE,
                        address.at.clone(),
                        &address.path,
                        message,
                    );
                    self.diagnostics
                        .push(diagnostic.with_help("set `resolution: DNS` in the ServiceEntry"));
                    continue;
                }
            };
            let endpoint = self.endpoint(spec, socket, namespace, name);
            endpoints.push(ServiceEndpoint {
                endpoint,
                ports: spec.ports.clone(),
            });
        }
        if endpoints.is_empty()
            && by_name
            && entry.endpoints.is_empty()
            && entry.workload_selector.is_none()
        {
            if canonical.contains('*') {
                let message = format!("resolution DNS cannot resolve the wildcard `{canonical}`");
                let diagnostic =
                    Diagnostic::error(codes::INVALID_VALUE, host.at.clone(), &host.path, message);
                self.diagnostics
                    .push(diagnostic.with_help("list `endpoints`"));
                return endpoints;
            }
            let address = EndpointAddress::Name {
                host: Arc::clone(canonical),
                port: first.target_port,
            };
            let workload = EndpointWorkload {
                name: "".into(),
                namespace: "".into(),
                app: "".into(),
                version: "".into(),
                service_account: "".into(),
            };
            let endpoint = Endpoint {
                address,
                labels: std::collections::BTreeMap::new(),
                locality: None,
                weight: 1,
                workload,
                expected: None,
                at: host.at.clone(),
            };
            endpoints.push(ServiceEndpoint {
                endpoint,
                ports: std::collections::BTreeMap::new(),
            });
        }
        endpoints
    }

    fn endpoint(
        &self,
        spec: &WorkloadSpec,
        address: EndpointAddress,
        namespace: &str,
        name: Option<&str>,
    ) -> Endpoint {
        let label =
            |name: &str| -> Arc<str> { spec.labels.get(name).map_or("", String::as_str).into() };
        let account = spec.service_account.as_deref();
        let expected = account.map(|account| {
            Arc::from(format!(
                "spiffe://{}/ns/{namespace}/sa/{account}",
                self.mesh.trust_domain
            ))
        });
        Endpoint {
            address,
            labels: spec.labels.clone(),
            locality: spec.locality.clone(),
            weight: spec.weight.max(1),
            workload: EndpointWorkload {
                name: name.map_or_else(|| label("app"), Arc::from),
                namespace: namespace.into(),
                app: label("app"),
                version: label("version"),
                service_account: account.unwrap_or_default().into(),
            },
            expected,
            at: spec.at.clone(),
        }
    }
}

impl Service {
    /// The endpoints with their address for one of the service's ports.
    pub fn endpoints_on(&self, port: &ServicePort) -> impl Iterator<Item = Endpoint> {
        self.endpoints.iter().map(|endpoint| {
            let number = endpoint
                .ports
                .get(&*port.name)
                .copied()
                .unwrap_or(port.target_port);
            let mut found = endpoint.endpoint.clone();
            match &mut found.address {
                EndpointAddress::Socket(address) => address.set_port(number),
                EndpointAddress::Name { port, .. } => *port = number,
            }
            found
        })
    }
}
