//! TLS to servers outside of the mesh: authorities that somebody names, names of certificates, revocation lists.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{
    dial::build,
    provider::{provider, signature_algorithms},
};

/// What a server outside of the mesh must prove.
#[derive(Debug, Clone)]
pub enum Proof {
    /// A certificate of these authorities, in time and not revoked, for one of the names.
    Certificate {
        /// Whom it is certified by, directly or through intermediates.
        authorities: Arc<RootCertStore>,
        /// Lists of revoked certificates. With any list, one of them has to speak about the server's issuer.
        revoked: Vec<CertificateRevocationListDer<'static>>,
        /// Subject alternative names (DNS, URI, IP address), one of which it has; the name that was asked for if there are
        /// none.
        names: Arc<[Arc<str>]>,
    },
    /// Nothing: anybody may answer.
    Nothing,
}

/// Makes the configuration of connections to servers outside of the mesh: TLS 1.2 and 1.3, without ALPN, and resumption off,
/// so that a server is verified at every handshake.
///
/// # Errors
/// When there are no authorities, or a list of revoked certificates is none.
pub fn origination_config(
    proof: &Proof,
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, VerifierBuilderError> {
    let verifier: Arc<dyn ServerCertVerifier> = match proof {
        Proof::Nothing => Arc::new(Anybody),
        Proof::Certificate {
            authorities,
            revoked,
            names,
        } => {
            let builder =
                WebPkiServerVerifier::builder_with_provider(Arc::clone(authorities), provider());
            let chain = builder
                .with_crls(revoked.iter().cloned())
                .only_check_end_entity_revocation()
                .build()?;
            Arc::new(Named {
                chain,
                names: Arc::clone(names),
            })
        }
    };
    let certificate = certificate.map(|certificate| -> Arc<dyn ResolvesClientCert> {
        Arc::new(SingleCertAndKey::from(certificate))
    });
    Ok(build(verifier, certificate, &[]))
}

/// The chain as webpki judges it, and the names that a document gives.
#[derive(Debug)]
struct Named {
    chain: Arc<WebPkiServerVerifier>,
    names: Arc<[Arc<str>]>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if self.names.is_empty() {
            return verified;
        }
        match verified {
            // The name is looked at last, when the chain has been found good.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        if self.names.iter().any(|name| has_name(end_entity, name)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Whether a certificate is for a name: an address, a URI to the letter, or a DNS name, which a wildcard in the certificate
/// covers (Envoy's `match_typed_subject_alt_names`, exact).
fn has_name(certificate: &CertificateDer<'_>, name: &str) -> bool {
    if name.contains("://") {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return false;
        };
        let Ok(Some(names)) = parsed.subject_alternative_name() else {
            return false;
        };
        let mut names = names.value.general_names.iter();
        return names.any(|known| matches!(known, GeneralName::URI(uri) if *uri == name));
    }
    let wanted = match name.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => match ServerName::try_from(name) {
            Ok(name) => name,
            Err(_) => return false,
        },
    };
    ParsedCertificate::try_from(certificate)
        .is_ok_and(|parsed| verify_server_name(&parsed, &wanted).is_ok())
}

/// Believes whoever answers; the handshake's own signature is verified all the same.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
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
