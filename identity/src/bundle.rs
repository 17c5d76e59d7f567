//! The roots that one trust domain's certificates chain to.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::{
    id::TrustDomain,
    key::pem_block,
    profile::{self, ProfileError},
};

/// A bundle does not hold more roots than this.
pub const MAX_ROOTS: usize = 64;

/// Why a set of certificates is not a trust bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Unreadable PEM.
    #[error("cannot read the bundle as PEM: {reason}")]
    Pem {
        /// What the PEM reader said.
        reason: String,
    },
    /// More than [`MAX_ROOTS`].
    #[error("the bundle has {found} roots, expected at most {MAX_ROOTS}")]
    TooMany {
        /// How many were given.
        found: usize,
    },
    /// A root that may not sign, or is otherwise unfit.
    #[error("root {index} of the bundle (counted from 0) cannot be one")]
    Root {
        /// Position in the bundle.
        index: usize,
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
}

/// The roots of one trust domain. No roots means that nothing of that domain is trusted (SPIFFE Bundle §4.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Whose roots these are; they vouch for no other domain.
    pub trust_domain: TrustDomain,
    /// Grows with every change of the content; 0 when unknown (read from a file).
    pub sequence: u64,
    /// DER certificates, each a CA.
    pub roots: Vec<CertificateDer<'static>>,
}

impl TrustBundle {
    /// Checks that each root may sign certificates.
    pub fn new(
        trust_domain: TrustDomain,
        sequence: u64,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        if roots.len() > MAX_ROOTS {
            return Err(BundleError::TooMany { found: roots.len() });
        }
        for (index, root) in roots.iter().enumerate() {
            profile::authority(root, trust_domain.as_str())
                .map_err(|source| BundleError::Root { index, source })?;
        }
        Ok(Self {
            trust_domain,
            sequence,
            roots,
        })
    }

    /// Reads PEM blocks `CERTIFICATE`; other blocks are ignored.
    pub fn from_pem(
        trust_domain: TrustDomain,
        sequence: u64,
        pem: &str,
    ) -> Result<Self, BundleError> {
        let roots = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BundleError::Pem {
                reason: error.to_string(),
            })?;
        Self::new(trust_domain, sequence, roots)
    }

    /// Writes one PEM block per root.
    pub fn to_pem(&self) -> String {
        self.roots
            .iter()
            .map(|root| pem_block("CERTIFICATE", &STANDARD.encode(root)))
            .collect()
    }

    /// SHA-256 over the roots' DER, sorted bytewise and concatenated: the same for the same set of roots.
    pub fn hash(&self) -> [u8; 32] {
        let mut sorted: Vec<&[u8]> = self.roots.iter().map(AsRef::as_ref).collect();
        sorted.sort_unstable();
        let mut context = digest::Context::new(&digest::SHA256);
        for root in sorted {
            context.update(root);
        }
        array_of(&context.finish())
    }
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    array_of(&digest::digest(&digest::SHA256, bytes))
}

fn array_of(digest: &digest::Digest) -> [u8; 32] {
    let mut array = [0; 32];
    // INVARIANT: SHA-256 yields 32 bytes.
    array.copy_from_slice(digest.as_ref());
    array
}
