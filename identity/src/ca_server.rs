//! Verifies that who answers is the trust domain's CA: by a kept bundle, or on first contact by the bundle's hash.

use std::sync::{Arc, OnceLock};

use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    bundle::TrustBundle,
    dial::{WrongServer, wrong_server},
    id::TrustDomain,
    profile,
    provider::signature_algorithms,
    server::chain_of,
    verify::{Purpose, verify_peer},
};

/// How the CA's server certificate is verified. Its identity is always `spiffe://<trust domain>/portcullis/ca`.
#[derive(Debug, Clone)]
pub enum CaTrust {
    /// Against a bundle that is known.
    Bundle(Arc<TrustBundle>),
    /// First contact: against the self-issued certificates that the server itself presents, if they hash to this.
    Pinned {
        /// Whose CA is expected.
        trust_domain: TrustDomain,
        /// [`TrustBundle::hash`] of the bundle, as the join token carries it.
        bundle_hash: [u8; 32],
    },
}

/// The roots that the server presented are not those of the join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the CA presents other roots than the join token names: the token is of another CA, or somebody is in between"
)]
pub struct WrongRoots;

/// Verifies one connection's server and remembers the bundle that vouched for it.
#[derive(Debug)]
pub(crate) struct CaServer {
    trust: CaTrust,
    verified_by: OnceLock<Arc<TrustBundle>>,
}

impl CaServer {
    pub(crate) fn new(trust: CaTrust) -> Self {
        Self {
            trust,
            verified_by: OnceLock::new(),
        }
    }

    /// The bundle the server was verified with; none before the handshake.
    pub(crate) fn verified_by(&self) -> Option<Arc<TrustBundle>> {
        self.verified_by.get().map(Arc::clone)
    }

    fn bundle_for(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<TrustBundle>, Error> {
        match &self.trust {
            CaTrust::Bundle(bundle) => Ok(Arc::clone(bundle)),
            CaTrust::Pinned {
                trust_domain,
                bundle_hash,
            } => {
                let roots = chain
                    .iter()
                    .filter(|certificate| profile::is_self_issued(certificate).unwrap_or(false))
                    .map(|certificate| certificate.clone().into_owned())
                    .collect();
                let bundle = TrustBundle::new(trust_domain.clone(), 0, roots)
                    .map_err(|error| other(Arc::new(error)))?;
                if bundle.hash() == *bundle_hash {
                    Ok(Arc::new(bundle))
                } else {
                    Err(other(Arc::new(WrongRoots)))
                }
            }
        }
    }
}

impl ServerCertVerifier for CaServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = chain_of(end_entity, intermediates);
        let bundle = self.bundle_for(&chain)?;
        let peer = verify_peer(&chain, &bundle, Purpose::Server, now)?;
        let expected = bundle.trust_domain.ca_id();
        if peer.id != expected {
            return Err(wrong_server(WrongServer {
                found: peer.id,
                expected: format!("`{expected}`"),
            }));
        }
        self.verified_by.get_or_init(|| bundle);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &signature_algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &signature_algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        signature_algorithms().supported_schemes()
    }
}

fn other(error: Arc<dyn std::error::Error + Send + Sync>) -> Error {
    rustls::CertificateError::Other(rustls::OtherError(error)).into()
}
