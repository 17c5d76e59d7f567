//! Opaque TCP: bytes that nobody looks into, with the same identities, policies, metrics and log as requests have.
//!
//! [`Opening`] says how a connection begins, [`Gate`] whether its peer may connect, [`Carrier::open`] finds it an endpoint
//! by its route, [`relay()`] carries the bytes, [`Changes`] wakes every open connection when policies or trust move, so that
//! whoever is refused is cut at once, and [`Account`] writes it all down.

mod account;
mod changes;
mod gate;
mod opening;
mod outgoing;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;

use identity::material::MaterialReader;
use identity::peer_of::ConnectionPeer;
use identity::{PeerIdentity, SpiffeId};

pub use account::Account;
pub use changes::Changes;
pub use gate::{Admission, Gate, Refusal, Side};
pub use opening::{ISTIO_ALPN, Opening};
pub use outgoing::{Way, server_lost};
pub use relay::{Abort, Carried, End, relay};

use crate::access::Access;
use crate::policy_store::PolicyStore;
use crate::telemetry::{AccessLog, PartyId, TcpMetrics};

/// What every opaque connection of a process shares.
#[derive(Debug)]
pub struct Carrier {
    /// Policies, routes and clusters.
    pub store: PolicyStore,
    /// The process's own identity, and whom it trusts.
    pub material: MaterialReader,
    /// Decides about what comes in.
    pub access: Access,
    /// Istio's TCP metrics.
    pub metrics: TcpMetrics,
    /// One line for each connection.
    pub access_log: AccessLog,
    /// The process's own identity, for external authorizers.
    pub id: Option<SpiffeId>,
}

/// The other end of one connection that came in.
#[derive(Debug)]
pub struct Peer {
    /// Its address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Proved by mTLS.
    pub proved: Option<ConnectionPeer>,
    /// The server name of its TLS handshake, in lower case.
    pub sni: Option<Arc<str>>,
    /// For metrics.
    pub party: PartyId,
}

impl Peer {
    /// A peer that has proved nothing.
    pub const fn unproved(remote: SocketAddr, local: SocketAddr, party: PartyId) -> Self {
        Self {
            remote,
            local,
            proved: None,
            sni: None,
            party,
        }
    }

    /// Who it has proved to be.
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.proved.as_ref().map(ConnectionPeer::identity)
    }
}
