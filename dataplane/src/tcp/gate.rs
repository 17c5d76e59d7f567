//! Whether a peer may be connected to the application: at first, and again whenever something changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::Snapshot;
use crate::access::{Caller, Refused};
use crate::decisions::DecisionId;
use crate::telemetry::ResponseFlags;
use authz::MtlsMode;

use super::account::Account;
use super::changes::Changes;
use super::{Carrier, Peer};

/// The judge of one port.
#[derive(Debug)]
pub struct Gate {
    carrier: Arc<Carrier>,
    port: u16,
    side: Side,
}

/// What is known about those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// They are of the mesh: PeerAuthentication says how they prove who they are.
    Mesh,
    /// They are strangers at the edge.
    Edge,
}

/// What an open connection keeps of its admission.
#[derive(Debug)]
pub struct Admission {
    /// The provider that has let it pass: asked again only when a CUSTOM rule names another one.
    provider: Option<Box<str>>,
}

/// A word against a connection.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub(super) generation: u64,
    /// For the log, in Envoy's words where it has any.
    pub(super) details: Arc<str>,
    pub(super) flags: ResponseFlags,
    /// The rule and the number, where the policies refuse.
    pub(super) by_policies: Option<(Option<Arc<str>>, Option<DecisionId>)>,
}

impl Refusal {
    fn by_proof(snapshot: &Snapshot, details: &str) -> Self {
        Self {
            generation: snapshot.generation,
            details: details.into(),
            flags: ResponseFlags::POLICY_DENIED,
            by_policies: None,
        }
    }

    fn by_policies(snapshot: &Snapshot, refused: &Refused<'_>) -> Self {
        let (note, reply) = (&refused.note, &refused.refusal.reply);
        let rule = note.by.map(|rule| rule.to_string().into());
        Self {
            generation: snapshot.generation,
            details: Arc::from(&*reply.details),
            flags: reply.flags,
            by_policies: Some((rule, note.decision)),
        }
    }

    /// The server of an outbound connection has lost our trust.
    pub(super) fn of_server(generation: u64) -> Self {
        Self {
            generation,
            details: "peer_no_longer_trusted".into(),
            flags: ResponseFlags::LOCAL_RESET,
            by_policies: None,
        }
    }
}

impl Gate {
    /// A judge of connections to the port that documents name so.
    pub const fn new(carrier: Arc<Carrier>, port: u16, side: Side) -> Self {
        Self {
            carrier,
            port,
            side,
        }
    }

    /// Judges a connection that has just come.
    ///
    /// # Errors
    /// It is to be closed without a byte.
    pub async fn admit(
        &self,
        snapshot: &Snapshot,
        peer: &Peer,
        account: &mut Account,
    ) -> Result<Admission, Refusal> {
        self.proof(snapshot, peer)?;
        let caller = self.caller(peer);
        let access = &self.carrier.access;
        let judged = access.admit_connection(snapshot, &caller).await;
        let admitted = judged.map_err(|refused| Refusal::by_policies(snapshot, &refused))?;
        account.judged(&admitted.note, snapshot.generation);
        Ok(Admission {
            provider: admitted.provider.map(Into::into),
        })
    }

    /// Judges an open connection again after each change; returns once it is refused.
    pub async fn refused(
        &self,
        peer: &Peer,
        mut admission: Admission,
        changes: &mut Changes,
    ) -> Refusal {
        loop {
            changes.next().await;
            let Some(snapshot) = self.carrier.store.snapshot() else {
                continue;
            };
            if let Err(refusal) = self.proof(&snapshot, peer) {
                return refusal;
            }
            let (caller, access) = (self.caller(peer), &self.carrier.access);
            if access.may_stay(&snapshot, &caller, admission.provider.as_deref()) {
                continue;
            }
            match access.admit_connection(&snapshot, &caller).await {
                Ok(admitted) => admission.provider = admitted.provider.map(Into::into),
                Err(refused) => return Refusal::by_policies(&snapshot, &refused),
            }
        }
    }

    /// Whether the peer has proved what it has to prove today.
    fn proof(&self, snapshot: &Snapshot, peer: &Peer) -> Result<(), Refusal> {
        let details = match &peer.proved {
            Some(proved) if !proved.still_trusted(&self.carrier.material, SystemTime::now()) => {
                "peer_no_longer_trusted"
            }
            None if self.side == Side::Mesh
                && snapshot.mtls.for_port(self.port) == MtlsMode::Strict =>
            {
                "plaintext_where_mtls_is_strict"
            }
            Some(_) | None => return Ok(()),
        };
        Err(Refusal::by_proof(snapshot, details))
    }

    fn caller<'a>(&'a self, peer: &'a Peer) -> Caller<'a> {
        Caller {
            identity: peer.identity().map(|identity| &identity.id),
            source: peer.remote,
            // Nobody in front could say otherwise: there is no header in opaque bytes.
            remote_ip: peer.remote.ip(),
            destination: SocketAddr::new(peer.local.ip(), self.port),
            sni: peer.sni.as_deref(),
            scheme: "tcp",
            own: self.carrier.id.as_ref(),
        }
    }
}
