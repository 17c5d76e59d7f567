//! Opaque TCP: bytes that nobody looks into.
//!
//! `inbound` ends mTLS as PeerAuthentication wants it, asks whether the peer may connect, and only then dials the
//! application; `outbound` turns a local port into a verified connection to a service. What they have in common with the
//! gateway stands in [`dataplane::tcp`].

mod inbound;
mod outbound;

pub(crate) use inbound::TcpInbound;
pub(crate) use outbound::TcpOutbound;
