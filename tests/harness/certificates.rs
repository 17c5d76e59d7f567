//! Certificates that the CA would never issue, signed with its own key from the test's state directory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime,
        pem::PemObject as _,
    },
};

use super::Transport;

/// Somebody who signs certificates without any rules.
pub struct Forge {
    issuer: Issuer<'static, KeyPair>,
    /// What stands behind the leaf in the chain.
    intermediates: Vec<CertificateDer<'static>>,
}

/// What a forged certificate says; by default it is a good workload certificate.
pub struct Forged<'a> {
    pub uris: &'a [&'a str],
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl<'a> Forged<'a> {
    /// Good from a minute ago for an hour.
    pub fn new(uris: &'a [&'a str]) -> Self {
        let now = SystemTime::now();
        Self {
            uris,
            not_before: now - Duration::from_mins(1),
            not_after: now + Duration::from_hours(1),
        }
    }

    /// Good until a minute ago.
    #[must_use]
    pub fn expired(self) -> Self {
        let now = SystemTime::now();
        Self {
            not_before: now - Duration::from_hours(2),
            not_after: now - Duration::from_mins(1),
            ..self
        }
    }

    /// Good from an hour ahead.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        let now = SystemTime::now();
        Self {
            not_before: now + Duration::from_hours(1),
            not_after: now + Duration::from_hours(2),
            ..self
        }
    }
}

impl Forge {
    /// The mesh's own intermediate, whose key the laptop profile keeps in the CA's state directory.
    pub fn of_mesh(ca_state: &Path) -> Self {
        let pem = fs::read(ca_state.join("intermediate.pem")).unwrap();
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let intermediates = certificates.unwrap();
        let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
        let key = KeyPair::try_from(&key).unwrap();
        let issuer = Issuer::from_ca_cert_der(&intermediates[0], key).unwrap();
        Self {
            issuer,
            intermediates,
        }
    }

    /// A CA of somebody else that calls itself by the same trust domain.
    pub fn foreign(trust_domain: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "Foreign Root");
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        let certificate = params.self_signed(&key).unwrap();
        let intermediates = vec![certificate.der().clone()];
        Self {
            issuer: Issuer::new(params, key),
            intermediates,
        }
    }

    /// Signs whatever it is asked to sign.
    pub fn sign(&self, forged: &Forged<'_>) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = forged.not_before.into();
        params.not_after = forged.not_after.into();
        params.subject_alt_names = forged.uris.iter().copied().map(uri).collect();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(self.intermediates.iter().cloned());
        Credentials { chain, key }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.to_owned().try_into().unwrap())
}

/// A certificate chain and its key.
pub struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Credentials {
    /// TLS with this client certificate, and with any server.
    pub fn tls(&self) -> Transport {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = trusting_client()
            .with_client_auth_cert(self.chain.clone(), key)
            .unwrap();
        Transport::Tls(Arc::new(config))
    }

    /// TLS without a client certificate, and with any server.
    pub fn none() -> Transport {
        Transport::Tls(Arc::new(trusting_client().with_no_client_auth()))
    }

    /// Writes `<name>.crt` and `<name>.key` for curl and openssl.
    pub fn write_pem(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (
            directory.join(format!("{name}.crt")),
            directory.join(format!("{name}.key")),
        );
        let mut text = String::new();
        for der in &self.chain {
            text.push_str(&pem("CERTIFICATE", der));
        }
        fs::write(&certificate, text).unwrap();
        fs::write(&key, self.key.serialize_pem()).unwrap();
        (certificate, key)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn trusting_client() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
}

/// Takes every server: these tests are about what the server takes.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
