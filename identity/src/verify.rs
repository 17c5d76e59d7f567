//! The SPIFFE verifier: webpki's path validation, then what webpki leaves out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    bundle::{TrustBundle, sha256},
    id::TrustDomain,
    peer::PeerIdentity,
    profile::{self, ProfileError},
    provider::{provider, signature_algorithms},
};

/// No presented chain has more certificates than this, the leaf and any roots included.
pub const MAX_CHAIN: usize = 16;

/// What the peer's certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The peer is the TLS client.
    Client,
    /// The peer is the TLS server.
    Server,
}

/// Why a peer's certificate chain is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The peer sent no certificate.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// A chain beyond [`MAX_CHAIN`].
    #[error("the chain has {found} certificates, expected at most {MAX_CHAIN}")]
    TooLong {
        /// How many were sent.
        found: usize,
    },
    /// The bundle is empty: nothing of this trust domain is trusted.
    #[error("the bundle of trust domain `{trust_domain}` has no roots")]
    NoRoots {
        /// Whose bundle it is.
        trust_domain: TrustDomain,
    },
    /// Signature, validity or issuer: RFC 5280 path validation failed.
    #[error("the chain does not verify against the trust bundle")]
    Path(#[source] rustls::Error),
    /// A certificate that breaks the X509-SVID specification.
    #[error("certificate {index} of the chain (0 is the leaf) is not as X509-SVID wants it")]
    Certificate {
        /// Position in the chain.
        index: usize,
        /// What is wrong.
        #[source]
        source: ProfileError,
    },
    /// The leaf names another trust domain than the bundle's.
    #[error("the identity is of trust domain `{found}`, the bundle is of `{expected}`")]
    TrustDomain {
        /// What the leaf says.
        found: String,
        /// Whose bundle it is.
        expected: TrustDomain,
    },
}

impl From<VerifyError> for rustls::Error {
    /// Keeps webpki's own reasons, which choose the right alert; the rest is a certificate error with our text.
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::NoCertificate => Self::NoCertificatesPresented,
            VerifyError::Path(reason) => reason,
            other @ (VerifyError::TooLong { .. }
            | VerifyError::NoRoots { .. }
            | VerifyError::Certificate { .. }
            | VerifyError::TrustDomain { .. }) => {
                rustls::CertificateError::Other(rustls::OtherError(Arc::new(other))).into()
            }
        }
    }
}

/// Verifies a presented chain (leaf first) at `now` and says who the peer is. One bundle, one trust domain: the leaf's
/// identity must be of the bundle's domain (X509-SVID §5.2).
pub fn verify_peer(
    chain: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    purpose: Purpose,
    now: UnixTime,
) -> Result<PeerIdentity, VerifyError> {
    Verifier::new(bundle).verify(chain, purpose, now)
}

/// A bundle made ready for many verifications.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust_domain: TrustDomain,
    // None when the bundle is empty.
    anchors: Option<Anchors>,
}

#[derive(Debug)]
struct Anchors {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    /// Roots that webpki cannot read are left out, as if they were not in the bundle.
    pub(crate) fn new(bundle: &TrustBundle) -> Self {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(bundle.roots.iter().cloned());
        let roots = Arc::new(store);
        let anchors = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .build()
            .ok()
            .map(|clients| Anchors { roots, clients });
        Self {
            trust_domain: bundle.trust_domain.clone(),
            anchors,
        }
    }

    pub(crate) fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<PeerIdentity, VerifyError> {
        let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::NoCertificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(VerifyError::TooLong { found: chain.len() });
        }
        self.verify_path(leaf, intermediates, purpose, now)?;
        let at = |index| move |source| VerifyError::Certificate { index, source };
        let checked = profile::leaf(leaf).map_err(at(0))?;
        if checked.id.trust_domain() != self.trust_domain.as_str() {
            return Err(VerifyError::TrustDomain {
                found: checked.id.trust_domain().to_owned(),
                expected: self.trust_domain.clone(),
            });
        }
        // webpki does not say which intermediates it used, so every presented one must be fit to sign.
        for (index, certificate) in intermediates.iter().enumerate() {
            profile::authority(certificate, self.trust_domain.as_str()).map_err(at(index + 1))?;
        }
        Ok(PeerIdentity {
            id: checked.id,
            not_after: checked.not_after,
            fingerprint: sha256(leaf),
        })
    }

    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: Purpose,
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let anchors = self.anchors.as_ref().ok_or_else(|| VerifyError::NoRoots {
            trust_domain: self.trust_domain.clone(),
        })?;
        match purpose {
            Purpose::Client => anchors
                .clients
                .verify_client_cert(leaf, intermediates, now)
                .map(|_verified| ()),
            Purpose::Server => ParsedCertificate::try_from(leaf).and_then(|parsed| {
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    &anchors.roots,
                    intermediates,
                    now,
                    signature_algorithms().all,
                )
            }),
        }
        .map_err(VerifyError::Path)
    }
}

/// Reads the identity from a chain that a handshake has verified already.
pub(crate) fn identity_of(leaf: &CertificateDer<'_>) -> Result<PeerIdentity, VerifyError> {
    let checked =
        profile::leaf(leaf).map_err(|source| VerifyError::Certificate { index: 0, source })?;
    Ok(PeerIdentity {
        id: checked.id,
        not_after: checked.not_after,
        fingerprint: sha256(leaf),
    })
}

/// The wall clock's time as the verifiers take it; a clock before 1970 counts as 1970.
pub(crate) fn unix_time(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
