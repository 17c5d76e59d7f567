//! The peer of a connection, and whether it is trusted still.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use rustls::CommonState;
use rustls_pki_types::CertificateDer;

use crate::{
    material::MaterialReader,
    peer::PeerIdentity,
    verify::{Purpose, VerifyError, identity_of, unix_time},
};

/// Reads the identity of the peer of a completed handshake that one of our configurations verified. Takes a
/// `&ServerConnection` or a `&ClientConnection`; [`VerifyError::NoCertificate`] when the peer showed none.
pub fn peer_of(connection: &CommonState) -> Result<PeerIdentity, VerifyError> {
    let leaf = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or(VerifyError::NoCertificate)?;
    identity_of(leaf)
}

/// The other end of one connection: identified once, verified again when the roots change.
#[derive(Debug)]
pub struct ConnectionPeer {
    identity: PeerIdentity,
    chain: Vec<CertificateDer<'static>>,
    purpose: Purpose,
    checked_under: AtomicU64,
}

impl ConnectionPeer {
    /// Remembers the client of a completed handshake. `trust_generation` is the reader's, read **before** the
    /// handshake began: a bundle that changes meanwhile is then checked at the first [`Self::still_trusted`].
    pub fn new(connection: &CommonState, trust_generation: u64) -> Result<Self, VerifyError> {
        Self::of(connection, Purpose::Client, trust_generation)
    }

    /// Remembers the server of a completed handshake; `trust_generation` as for [`Self::new`].
    pub fn server(connection: &CommonState, trust_generation: u64) -> Result<Self, VerifyError> {
        Self::of(connection, Purpose::Server, trust_generation)
    }

    fn of(
        connection: &CommonState,
        purpose: Purpose,
        trust_generation: u64,
    ) -> Result<Self, VerifyError> {
        let identity = peer_of(connection)?;
        let chain = connection
            .peer_certificates()
            .map(<[_]>::to_vec)
            .unwrap_or_default();
        Ok(Self {
            identity,
            chain,
            purpose,
            checked_under: AtomicU64::new(trust_generation),
        })
    }

    /// Who it is.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// Tells whether today's bundle still vouches for the peer. One comparison, unless the roots have changed since
    /// the last call.
    ///
    /// Expiry alone does not end a connection (a renewed peer keeps its long streams): an expired certificate is
    /// judged as of its last second. Who wants otherwise compares [`PeerIdentity::not_after`].
    pub fn still_trusted(&self, reader: &MaterialReader, now: SystemTime) -> bool {
        let today = reader.trust_generation();
        if self.checked_under.load(Ordering::Relaxed) == today {
            return true;
        }
        let Some(material) = reader.current() else {
            return false;
        };
        let at = unix_time(now.min(self.identity.not_after));
        let trusted = material.verify(&self.chain, self.purpose, at).is_ok();
        if trusted {
            // `today` was read first, so a bundle published since is checked by the next call.
            self.checked_under.store(today, Ordering::Relaxed);
        }
        trusted
    }
}
