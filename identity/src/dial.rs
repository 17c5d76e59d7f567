//! TLS for connections that we open: configuration and verification of the server's identity.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    id::SpiffeId,
    material::MaterialReader,
    provider::{VERSIONS, provider, signature_algorithms},
    server::chain_of,
    verify::Purpose,
};

/// The server name to dial mesh peers with; they are known by their SPIFFE ID, no host name is compared.
pub const SERVER_NAME: &str = "portcullis.invalid";

/// [`SERVER_NAME`] as rustls takes it.
pub fn server_name() -> ServerName<'static> {
    #[expect(clippy::expect_used, reason = "the constant is a DNS name")]
    ServerName::try_from(SERVER_NAME).expect("a DNS name")
}

/// Who may answer.
#[derive(Debug, Clone)]
pub enum ExpectedServer {
    /// One of these identities. An empty list lets nobody answer.
    AnyOf(Arc<[SpiffeId]>),
}

/// The server is somebody else than expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server is `{found}`, expected {expected}")]
pub struct WrongServer {
    /// Who answered.
    pub found: SpiffeId,
    /// Who should have, in words.
    pub expected: String,
}

/// Makes the configuration of outgoing connections: TLS 1.2 and 1.3, our current SVID, the server verified against
/// the current bundle and its URI SAN against the expected identities. Resumption is off.
pub fn client_config(
    reader: &MaterialReader,
    expected: ExpectedServer,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let resolver = Arc::new(OurCertificate {
        reader: reader.clone(),
    });
    let verifier = Arc::new(MeshServer {
        reader: reader.clone(),
        expected,
    });
    build(verifier, Some(resolver), alpn)
}

/// A client configuration with a verifier of ours, and resumption off.
pub(crate) fn build(
    verifier: Arc<dyn ServerCertVerifier>,
    certificate: Option<Arc<dyn ResolvesClientCert>>,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    #[expect(
        clippy::expect_used,
        reason = "aws-lc-rs has cipher suites for both versions, whatever the input"
    )]
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certificate {
        Some(resolver) => builder.with_client_cert_resolver(resolver),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Presents the SVID of the current generation.
pub(crate) struct OurCertificate {
    pub(crate) reader: MaterialReader,
}

impl ResolvesClientCert for OurCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.reader.current()?.svid.certified_key(SystemTime::now())
    }

    fn has_certs(&self) -> bool {
        self.reader.generation() > 0
    }
}

impl fmt::Debug for OurCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurCertificate")
    }
}

#[derive(Debug)]
struct MeshServer {
    reader: MaterialReader,
    expected: ExpectedServer,
}

impl ServerCertVerifier for MeshServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let material = self
            .reader
            .current()
            .ok_or_else(|| Error::General("no trust bundle yet".to_owned()))?;
        let chain = chain_of(end_entity, intermediates);
        let peer = material.verify(&chain, Purpose::Server, now)?;
        let ExpectedServer::AnyOf(ids) = &self.expected;
        if ids.contains(&peer.id) {
            Ok(ServerCertVerified::assertion())
        } else {
            let names: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
            Err(wrong_server(WrongServer {
                found: peer.id,
                expected: names.join(" or "),
            }))
        }
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

/// The error as a handshake reports it.
pub(crate) fn wrong_server(error: WrongServer) -> Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
