//! What the authority must never forget: what it issued, what it refused, which tokens are spent, who enrolled.
//!
//! A method that changes something returns only once the change would survive a loss of power. What is
//! returned before that must not be acknowledged to anybody.

use std::time::SystemTime;

use async_trait::async_trait;

mod mark;
pub mod memory;
pub mod record;
pub mod sled_store;

pub use record::{Enrolment, Identity, Issued, JoinTokenRecord, Refused, Spend};

/// Why the store could not answer or could not make a record durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The files are damaged, or records that were once there are gone.
    #[error(
        "the store in `{path}` is damaged ({what}); it is never rebuilt by itself, because that would \
         revive spent tokens: restore the directory and `{mark}` together from a backup, or, if you \
         accept that every workload must enrol anew with a new token, move both away"
    )]
    Damaged {
        /// The store's directory.
        path: String,
        /// What was found.
        what: String,
        /// The file beside it that remembers the store.
        mark: String,
    },
    /// Written by another version of the format.
    #[error(
        "the store has schema {found}, this program reads {expected}; use the program that wrote it"
    )]
    Schema {
        /// The version found.
        found: u32,
        /// The version this program reads.
        expected: u32,
    },
    /// Another process has it open.
    #[error("the store in `{0}` is in use by another process")]
    InUse(String),
    /// Reading or writing failed.
    #[error("the store can't be read or written")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An earlier write failed; what is durable is not known until a restart.
    #[error(
        "an earlier write to the store failed; nothing is signed until a restart has checked it"
    )]
    Poisoned,
    /// The token was bound to another enrolment key in the meantime.
    #[error("the join token is already bound to another enrolment key")]
    TokenTaken,
}

/// Numbers over everything on record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Certificates ever issued.
    pub issued: u64,
    /// Refusals ever recorded.
    pub refused: u64,
}

/// How an enrolment changes together with the certificate that is issued on its strength.
#[derive(Debug, Clone)]
pub struct Admission {
    /// SHA-256 of the enrolment key.
    pub key_hash: [u8; 32],
    /// What it is now known as.
    pub enrolment: Enrolment,
    /// The token that is spent by it, if one is.
    pub spend: Option<[u8; 32]>,
}

/// Where records live.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Records a certificate, and in the same step spends the token that paid for it. All of it or nothing.
    ///
    /// Fails with [`StoreError::TokenTaken`] if another key has spent the token in the meantime.
    async fn record_issued(
        &self,
        issued: Issued,
        admission: Option<Admission>,
    ) -> Result<(), StoreError>;

    /// Records a refusal. Only the newest ten thousand are kept.
    async fn record_refused(&self, refused: Refused) -> Result<(), StoreError>;

    /// Records a new join token under the hash of its secret.
    async fn record_token(&self, hash: [u8; 32], token: JoinTokenRecord) -> Result<(), StoreError>;

    /// The token with this hash.
    fn token(&self, hash: &[u8; 32]) -> Result<Option<JoinTokenRecord>, StoreError>;

    /// What is known of an enrolment key.
    fn enrolment(&self, key_hash: &[u8; 32]) -> Result<Option<Enrolment>, StoreError>;

    /// The record of the certificate with this SHA-256 fingerprint.
    fn issued(&self, fingerprint: &[u8; 32]) -> Result<Option<Issued>, StoreError>;

    /// The newest certificate of every identity, by identity.
    fn identities(&self) -> Result<Vec<Identity>, StoreError>;

    /// The newest refusals, newest first.
    fn refusals(&self, limit: usize) -> Result<Vec<Refused>, StoreError>;

    /// Numbers over everything on record.
    fn totals(&self) -> Totals;

    /// The sequence number of the bundle with this hash: the last one if the hash is the last one's, else the next.
    async fn bundle_sequence(&self, hash: [u8; 32]) -> Result<u64, StoreError>;

    /// Forgets certificates and tokens that ended before `before`; returns how many.
    async fn forget_expired(&self, before: SystemTime) -> Result<u64, StoreError>;

    /// Notes how far the records have come, so that a loss is noticed at the next start. Called every few seconds.
    fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes everything durable, for an orderly end.
    async fn close(&self) -> Result<(), StoreError>;
}
