//! The upstream client: pooled, authenticated connections to endpoints, shared by gateway and sidecar.
//!
//! One pool exists per [`Target`] (cluster, address, transport and expected identities, protocol). Every connection
//! remembers the generation of TLS material it was dialled with; when a new generation is published, idle
//! connections of the old one close and busy ones finish what they carry. HTTP/2 connections are shared up to
//! the peer's stream limit, then another is opened; cold dials are coalesced. A cluster's limits hold over the pools of all
//! its endpoints ([`ClusterConnections`]); who has to wait is served in order. A request is replayed only when
//! nothing of it was sent. Dropping the future of [`Upstreams::send`], or the response body, cancels the
//! exchange: HTTP/1.1 closes its connection, HTTP/2 resets its own stream only.

mod client;
mod connections;
mod dial;
mod error;
mod io;
mod opaque;
mod origination;
mod pool;
mod response;
mod shape;
mod sweep;
mod target;

pub use client::{Limits, UpstreamCounts, Upstreams};
pub use connections::{ClusterConnections, ConnectionsStatus};
pub use error::{DialError, UpstreamError, UpstreamErrorKind};
pub use opaque::OpaqueStream;
pub use origination::{Origination, OriginationError};
pub use response::{UpstreamBody, UpstreamBodyError};
pub use target::{Expected, Target, Transport, UpstreamProtocol};

#[cfg(test)]
mod tests;
