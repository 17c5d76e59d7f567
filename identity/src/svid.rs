//! An X509-SVID of our own: a certificate chain and the key that fits it.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::{
    id::SpiffeId,
    key::{KeyError, PrivateKey},
    profile::{self, Leaf},
    verify::MAX_CHAIN,
};

pub use crate::profile::ProfileError;

/// Why a chain and a key are not an SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SvidError {
    /// No certificate, or too many.
    #[error("the chain has {found} certificates, expected 1 to {MAX_CHAIN}")]
    ChainLength {
        /// How many were given.
        found: usize,
    },
    /// The leaf or an intermediate breaks the X509-SVID specification.
    #[error("certificate {index} of the chain (0 is the leaf) is not as X509-SVID wants it")]
    Certificate {
        /// Position in the chain.
        index: usize,
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
    /// The leaf is for another key.
    #[error("the leaf certificate is for another key")]
    KeyMismatch,
    /// The key cannot sign handshakes.
    #[error("the key cannot be used for TLS")]
    Key(#[source] KeyError),
}

/// A certificate chain with its key, ready for TLS. The key stays inside.
pub struct Svid {
    leaf: Leaf,
    certified: Arc<CertifiedKey>,
}

impl Svid {
    /// Checks the chain (leaf first, then intermediates) and that the key fits the leaf. Validity and signatures are
    /// the verifier's work.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "an SVID takes its key, so that nobody else signs with it"
    )]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, SvidError> {
        let length = SvidError::ChainLength { found: chain.len() };
        let Some((first, intermediates)) = chain.split_first() else {
            return Err(length);
        };
        if chain.len() > MAX_CHAIN {
            return Err(length);
        }
        let at = |index| move |source| SvidError::Certificate { index, source };
        let leaf = profile::leaf(first).map_err(at(0))?;
        for (index, certificate) in intermediates.iter().enumerate() {
            profile::authority(certificate, leaf.id.trust_domain()).map_err(at(index + 1))?;
        }
        if leaf.spki != key.public_spki() {
            return Err(SvidError::KeyMismatch);
        }
        let signing = key.tls_signing_key().map_err(SvidError::Key)?;
        Ok(Self {
            leaf,
            certified: Arc::new(CertifiedKey::new(chain, signing)),
        })
    }

    /// The identity.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// DER: the leaf, then the intermediates.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Start of validity.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// End of validity.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// The serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.leaf.serial
    }

    /// Chain and key for a handshake at `now`; none once the certificate has expired, so that TLS fails closed.
    pub(crate) fn certified_key(&self, now: SystemTime) -> Option<Arc<CertifiedKey>> {
        (now < self.leaf.not_after).then(|| Arc::clone(&self.certified))
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", self.id())
            .field("serial", &self.serial())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}
