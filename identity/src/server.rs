//! TLS for listeners that know their clients: configuration, certificate resolver, client verifier.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{verify_tls12_signature, verify_tls13_signature},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    material::MaterialReader,
    provider::{VERSIONS, provider, signature_algorithms},
    verify::Purpose,
};

/// Whether a client must show a certificate. One that is shown is verified either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No certificate, no handshake.
    Require,
    /// A client without a certificate is let in, unidentified.
    Request,
}

/// Makes the configuration of a listener: TLS 1.2 and 1.3, our current SVID, clients verified against the current
/// bundle. Both are read at each handshake; without material, or with an expired certificate, handshakes fail.
///
/// Resumption is off: a resumed handshake skips the client verifier, so it would outlive trust.
pub fn server_config(
    reader: &MaterialReader,
    clients: ClientCertificates,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let verifier = Arc::new(Clients {
        reader: reader.clone(),
        clients,
    });
    let resolver = Arc::new(OurCertificate {
        reader: reader.clone(),
    });
    #[expect(
        clippy::expect_used,
        reason = "aws-lc-rs has cipher suites for both versions, whatever the input"
    )]
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&VERSIONS)
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

struct OurCertificate {
    reader: MaterialReader,
}

impl ResolvesServerCert for OurCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.reader.current()?.svid.certified_key(SystemTime::now())
    }
}

impl fmt::Debug for OurCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurCertificate")
    }
}

#[derive(Debug)]
struct Clients {
    reader: MaterialReader,
    clients: ClientCertificates,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.clients == ClientCertificates::Require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a mesh client has one certificate, and the names of our roots are nobody's business.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let material = self
            .reader
            .current()
            .ok_or_else(|| Error::General("no trust bundle yet".to_owned()))?;
        let chain = chain_of(end_entity, intermediates);
        material.verify(&chain, Purpose::Client, now)?;
        Ok(ClientCertVerified::assertion())
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

/// The chain as it was sent, without copying certificates.
pub(crate) fn chain_of<'a>(
    end_entity: &'a CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
) -> Vec<CertificateDer<'a>> {
    std::iter::once(end_entity)
        .chain(intermediates)
        .map(|certificate| CertificateDer::from(certificate.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests;
