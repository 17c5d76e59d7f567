//! Where a request goes and how: address, transport security, protocol and the limits of connections.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;
use rustls_pki_types::ServerName;

use super::connections::ClusterConnections;
use super::origination::Origination;

/// The identities that are accepted from an endpoint; cheap to clone and to compare.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expected(Arc<[SpiffeId]>);

impl Expected {
    /// Accepts any one of `ids`. An empty list accepts nobody.
    pub fn any_of(ids: impl Into<Arc<[SpiffeId]>>) -> Self {
        Self(ids.into())
    }

    /// Accepts exactly `id`.
    pub fn one(id: SpiffeId) -> Self {
        Self(Arc::from([id]))
    }

    /// The accepted identities.
    pub fn ids(&self) -> &Arc<[SpiffeId]> {
        &self.0
    }
}

/// How the connection is protected.
#[derive(Debug, Clone)]
pub enum Transport {
    /// No TLS: the sidecar's own application, or an endpoint outside the mesh.
    Plaintext,
    /// Mutual TLS with the workload's SVID; the peer must present one of these identities.
    Mesh(Expected),
    /// TLS to a server outside of the mesh.
    Tls(Arc<Origination>),
}

impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plaintext, Self::Plaintext) => true,
            (Self::Mesh(ours), Self::Mesh(theirs)) => ours == theirs,
            // Carried from generation to generation as long as a document says the same.
            (Self::Tls(ours), Self::Tls(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

impl Eq for Transport {}

/// Which version of HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    /// With TLS: HTTP/2 if the peer agrees (ALPN), else HTTP/1.1. Without TLS: HTTP/1.1.
    Auto,
    /// HTTP/1.1 only; needed for upgrades (RFC 9110 §7.8).
    Http1,
    /// HTTP/2 only; without TLS by prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// One place to send a request to.
#[derive(Clone)]
pub struct Target {
    /// The address to dial.
    pub address: SocketAddr,
    /// How the connection is protected.
    pub transport: Transport,
    /// The name that TLS asks for; mesh peers are known by their identity whatever it is.
    pub server_name: Option<ServerName<'static>>,
    /// Which version of HTTP is spoken.
    pub protocol: UpstreamProtocol,
    /// The longest that TCP connect, TLS handshake and HTTP preface may take together.
    pub connect_timeout: Duration,
    /// The cluster's connections, which this one's are among.
    pub connections: Arc<ClusterConnections>,
}

impl Target {
    /// A plaintext target without limits, as the sidecar's own application.
    pub fn plaintext(
        address: SocketAddr,
        protocol: UpstreamProtocol,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            address,
            transport: Transport::Plaintext,
            server_name: None,
            protocol,
            connect_timeout,
            connections: ClusterConnections::unlimited(),
        }
    }

    /// A mesh peer that must prove one of the `expected` identities; without limits.
    pub fn mesh(
        address: SocketAddr,
        expected: Expected,
        protocol: UpstreamProtocol,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            transport: Transport::Mesh(expected),
            ..Self::plaintext(address, protocol, connect_timeout)
        }
    }

    /// The same target over HTTP/1.1 alone, for an upgrade.
    #[must_use]
    pub fn http1(&self) -> Self {
        Self {
            protocol: UpstreamProtocol::Http1,
            ..self.clone()
        }
    }

    /// Whether a connection to `other` is one to this target as well.
    pub(super) fn shares_connections(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connections, &other.connections)
            && self.protocol == other.protocol
            && self.address == other.address
            && self.server_name == other.server_name
            && self.transport == other.transport
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("transport", &self.transport)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
