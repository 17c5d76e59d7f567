//! Opaque TCP: bytes that nobody looks into, with the same identities, policies, metrics and log as requests have.
//!
//! `inbound` ends mTLS as PeerAuthentication wants it, asks `gate` whether the peer may connect, and only then dials the
//! application; `outbound` turns a local port into a verified connection to a service. `relay` carries the bytes, and
//! `changes` wakes every open connection when policies or trust move, so that a refused peer is cut at once.

mod account;
mod changes;
mod gate;
mod inbound;
mod opening;
mod outbound;
mod relay;

pub(crate) use inbound::TcpInbound;
pub(crate) use outbound::TcpOutbound;
