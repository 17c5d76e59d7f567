//! Where a request goes and how: address, transport security and protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// No TLS: the sidecar's own application, or an endpoint outside the mesh.
    Plaintext,
    /// Mutual TLS with the workload's SVID; the peer must present one of these identities.
    Mesh(Expected),
}

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
#[derive(Debug, Clone)]
pub struct Target {
    /// The address to dial.
    pub address: SocketAddr,
    /// How the connection is protected.
    pub transport: Transport,
    /// Which version of HTTP is spoken.
    pub protocol: UpstreamProtocol,
    /// The longest that TCP connect, TLS handshake and HTTP preface may take together.
    pub connect_timeout: Duration,
}

impl Target {
    /// A plaintext target, as the sidecar's own application.
    pub const fn plaintext(
        address: SocketAddr,
        protocol: UpstreamProtocol,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            address,
            transport: Transport::Plaintext,
            protocol,
            connect_timeout,
        }
    }

    /// A mesh peer that must prove one of the `expected` identities.
    pub const fn mesh(
        address: SocketAddr,
        expected: Expected,
        protocol: UpstreamProtocol,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            address,
            transport: Transport::Mesh(expected),
            protocol,
            connect_timeout,
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
}
