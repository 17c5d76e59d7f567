//! What a gateway listens to: logical ports, their servers, certificates and redirects.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use crate::document::{Protocol, TlsVersion};

use crate::document::{DocumentSet, Server, ServerTlsMode};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::route::server_host;
use crate::source::Location;
use crate::workload::Workload;

/// Every logical port of one gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewayListeners {
    /// By port number, ascending.
    pub ports: Box<[GatewayPort]>,
}

/// One logical port.
#[derive(Clone, Debug)]
pub struct GatewayPort {
    /// The number in the documents; the process says where it listens.
    pub number: u16,
    /// What its first server speaks: all of them speak plaintext HTTP, or TLS, or TCP.
    pub protocol: Protocol,
    /// Its servers, in document order.
    pub servers: Box<[GatewayServer]>,
}

/// One server of a port.
#[derive(Clone, Debug)]
pub struct GatewayServer {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// `namespace/name` of its Gateway.
    pub gateway: Arc<str>,
    /// What is spoken: on a TLS port `HTTPS` is HTTP behind TLS, `TLS` anything behind it.
    pub protocol: Protocol,
    /// Its hosts, without the namespace part.
    pub hosts: Box<[HostPattern]>,
    /// Its TLS; always there on TLS ports, never on others.
    pub tls: Option<ListenerTls>,
    /// Whether every request is sent to https; the route table answers so too.
    pub https_redirect: bool,
    /// Where it is written.
    pub at: Location,
}

/// What becomes of TLS at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// It ends at the gateway (`SIMPLE`).
    Terminated(TlsTerms),
    /// It goes on to an endpoint, chosen by its server name (`PASSTHROUGH`).
    Passed,
}

/// How a server ends TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTerms {
    /// The directory of the certificate among the gateway's credentials.
    pub credential_name: Arc<str>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

impl GatewayListeners {
    /// Collects the servers of every Gateway that selects the workload, from a set in which
    /// [`check`](crate::check::check) found no error.
    pub fn compile(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Self {
        // Gateways bind in every namespace; the root namespace matters to policies only.
        let Mesh { .. } = mesh;
        let mut ports: BTreeMap<u16, (Protocol, Vec<GatewayServer>)> = BTreeMap::new();
        for gateway in documents
            .gateways
            .iter()
            .filter(|gateway| gateway.selects(&workload.labels))
        {
            let name: Arc<str> = gateway.meta.qualified().into();
            for server in &gateway.servers {
                let (_, servers) = ports
                    .entry(*server.port.number)
                    .or_insert_with(|| (*server.port.protocol, Vec::new()));
                servers.push(compile_server(server, &name));
            }
        }
        let ports = ports
            .into_iter()
            .map(|(number, (protocol, servers))| GatewayPort {
                number,
                protocol,
                servers: servers.into(),
            })
            .collect();
        Self { ports }
    }

    /// A port by number.
    pub fn port(&self, number: u16) -> Option<&GatewayPort> {
        self.ports.iter().find(|port| port.number == number)
    }
}

impl ListenerTls {
    /// The terms of a handshake with the gateway, if TLS ends there.
    pub fn terms(&self) -> Option<&TlsTerms> {
        match self {
            Self::Terminated(terms) => Some(terms),
            Self::Passed => None,
        }
    }
}

impl GatewayPort {
    /// Whether its connections begin with a TLS handshake.
    pub fn is_tls(&self) -> bool {
        is_tls(self.protocol)
    }

    /// The server for an SNI in lower case: exact, then the longest wildcard, then `*`; without SNI only `*`.
    pub fn server_for(&self, sni: Option<&str>) -> Option<&GatewayServer> {
        let mut best: Option<(usize, &GatewayServer)> = None;
        for server in &self.servers {
            for host in &server.hosts {
                let rank = match (host, sni) {
                    (HostPattern::Any, _) => 1,
                    (HostPattern::Exact(_), Some(sni)) if host.matches(sni) => usize::MAX,
                    (HostPattern::Suffix(suffix), Some(sni)) if host.matches(sni) => {
                        1 + suffix.len()
                    }
                    _ => continue,
                };
                if best.is_none_or(|(found, _)| rank > found) {
                    best = Some((rank, server));
                }
            }
        }
        best.map(|(_, server)| server)
    }
}

pub(crate) fn is_tls(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Https | Protocol::Tls)
}

pub(crate) fn compile_server(server: &Server, gateway: &Arc<str>) -> GatewayServer {
    let tls = server.tls.as_ref().and_then(|tls| {
        if tls.mode? == ServerTlsMode::Passthrough {
            return Some(ListenerTls::Passed);
        }
        Some(ListenerTls::Terminated(TlsTerms {
            credential_name: tls.credential_name.as_ref()?.as_str().into(),
            min_version: tls.min_version,
        }))
    });
    GatewayServer {
        name: server.name.as_deref().map(Arc::from),
        gateway: Arc::clone(gateway),
        protocol: *server.port.protocol,
        hosts: server
            .hosts
            .iter()
            .map(|host| server_host(host).1)
            .collect(),
        tls,
        https_redirect: server.tls.as_ref().is_some_and(|tls| tls.https_redirect),
        at: server.at.clone(),
    }
}
