//! Who is at the other end of a connection, once verified.

use std::time::SystemTime;

use crate::id::SpiffeId;

/// A peer whose certificate chain was verified against the bundle of its trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The one URI SAN of the leaf.
    pub id: SpiffeId,
    /// When the leaf expires.
    pub not_after: SystemTime,
    /// SHA-256 of the leaf certificate's DER.
    pub fingerprint: [u8; 32],
}
