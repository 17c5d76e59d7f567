//! Clusters: where requests for one service, port and subset go, and how the connection is protected.

mod build;
mod effective;
mod fallback;
mod health;
mod pool;
pub(crate) mod providers;
mod resolution;
mod rules;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::document::{H2Upgrade, Http2KeepAlive, Protocol, Resolution, TcpKeepalive};
pub(crate) use build::{ClusterBuilder, transport};
pub(crate) use effective::Effective;
pub use fallback::{Fallback, FallbackAnswer};
pub use pool::PoolSettings;
pub(crate) use rules::Rules;
pub use tls::{ClientCredential, TlsSettings, Verification};

use crate::document::health_check::HealthCheckSettings;
use crate::document::{Locality, Spanned};
use crate::resilience::Settings;
use crate::source::Location;

/// What a cluster is called; `Display` is Istio's name `outbound|8080|v1|host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterKey {
    /// The canonical host of the service.
    pub host: Arc<str>,
    /// The service port.
    pub port: u16,
    /// The subset.
    pub subset: Option<Arc<str>>,
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "outbound|{}|{}|{}",
            self.port,
            self.subset.as_deref().unwrap_or_default(),
            self.host
        )
    }
}

/// Where a cluster stands in its [`ClusterSet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterIndex(pub(crate) u32);

impl ClusterIndex {
    /// The position, for arrays that run parallel to the set.
    pub fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The endpoints of one service port and subset, and how to reach them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What it is called.
    pub key: ClusterKey,
    /// The service, for metrics.
    pub service: ServiceLabels,
    /// Its endpoints.
    pub endpoints: Box<[Endpoint]>,
    /// How connections are protected.
    pub transport: Transport,
    /// What servers outside of the mesh are asked for and proved; there under [`Transport::Tls`] only.
    pub tls: Option<Spanned<Arc<TlsSettings>>>,
    /// Under [`Transport::Mesh`]: who may answer instead of each endpoint's own identity, if anybody is named
    /// (`subjectAltNames`).
    pub identities: Arc<[Arc<str>]>,
    /// Under [`Transport::Mesh`]: the name that is asked for, as Istio's sidecars do: `outbound_.8080_.v1_.host`.
    pub sni: Arc<str>,
    /// How names of endpoints become addresses.
    pub resolution: Resolution,
    /// What is spoken with the endpoints, `h2UpgradePolicy` applied.
    pub protocol: Protocol,
    /// The limits of its connections.
    pub pool: PoolSettings,
    /// The limit for TCP and TLS connect together; 10 s if no document says otherwise.
    pub connect_timeout: Duration,
    /// Balancing, breakers and limits (DestinationRule: the rule, its subset and its port together).
    pub resilience: Arc<Settings>,
    /// How its endpoints are asked whether they are well (HealthCheck); none if nobody asks.
    pub health_check: Option<Arc<HealthCheckSettings>>,
    /// What its callers are answered where it fails.
    pub fallback: Option<Arc<Fallback>>,
    /// The service's declaration, or the subset's.
    pub at: Location,
}

/// A service's names as metrics show them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLabels {
    /// `destination_service_name`.
    pub name: Arc<str>,
    /// `destination_service_namespace`.
    pub namespace: Arc<str>,
    /// `destination_service`: the canonical host.
    pub host: Arc<str>,
}

/// How connections to endpoints are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// No TLS.
    Plaintext,
    /// mTLS; every endpoint has an expected identity.
    Mesh,
    /// TLS to a server outside of the mesh ([`Cluster::tls`]).
    Tls,
}

/// One place where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: EndpointAddress,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is, for `localityLbSetting`.
    pub locality: Option<Box<Locality>>,
    /// Its share of the requests, relative to the others; at least 1.
    pub weight: u32,
    /// The workload behind it, for metrics.
    pub workload: EndpointWorkload,
    /// The SPIFFE ID that it must prove under [`Transport::Mesh`]; none under the others.
    pub expected: Option<Arc<str>>,
    /// Where it is declared.
    pub at: Location,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An address.
    Socket(SocketAddr),
    /// A name for DNS.
    Name {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

impl EndpointAddress {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name { port, .. } => *port,
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// What metrics say about the workload behind an endpoint; empty texts are `unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointWorkload {
    /// `destination_workload`.
    pub name: Arc<str>,
    /// `destination_workload_namespace`.
    pub namespace: Arc<str>,
    /// `destination_app`.
    pub app: Arc<str>,
    /// `destination_version`.
    pub version: Arc<str>,
    /// `serviceAccount`, empty if not given.
    pub service_account: Arc<str>,
}

/// Every cluster of one proxy.
#[derive(Clone, Debug, Default)]
pub struct ClusterSet {
    pub(crate) clusters: Box<[Cluster]>,
}

impl ClusterSet {
    /// A cluster by the index that routes hold.
    pub fn get(&self, index: ClusterIndex) -> Option<&Cluster> {
        self.clusters.get(index.position())
    }

    /// Every cluster with its index.
    pub fn iter(&self) -> impl Iterator<Item = (ClusterIndex, &Cluster)> {
        self.clusters
            .iter()
            .enumerate()
            .filter_map(|(position, cluster)| {
                Some((ClusterIndex(u32::try_from(position).ok()?), cluster))
            })
    }

    /// How many clusters there are.
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}
