//! Ends TLS: the server name picks a `Gateway` server, the server its certificate and its terms.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{HttpVersion, TlsFacts};
use crate::credentials::Credential;
use crate::hosts::HostPattern;

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// Not asked for (`SIMPLE`).
    Ignored,
    /// Asked for; a certificate that is shown must be valid (`OPTIONAL_MUTUAL`).
    Optional,
    /// Required (`MUTUAL`).
    Required,
}

/// One TLS server of one port.
#[derive(Debug)]
pub(crate) struct TlsServer {
    /// The names it answers to.
    pub(crate) hosts: Vec<HostPattern>,
    /// Its certificate and terms; `None` while its certificate is missing.
    pub(crate) config: Option<Arc<ServerConfig>>,
}

/// One port of a generation of TLS servers.
#[derive(Debug)]
pub(crate) struct TlsPort {
    /// The port that `Gateway` documents name.
    pub(crate) port: u16,
    /// Its servers.
    pub(crate) servers: Vec<TlsServer>,
}

/// The TLS servers in force; replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct TlsTerminator {
    ports: ArcSwap<Vec<TlsPort>>,
}

impl TlsTerminator {
    /// Puts a new generation in force, for the handshakes from now on.
    pub(crate) fn publish(&self, ports: Vec<TlsPort>) {
        self.ports.store(Arc::new(ports));
    }

    /// Whether connections to `port` begin with a TLS handshake.
    pub(crate) fn serves(&self, port: u16) -> bool {
        self.ports.load().iter().any(|entry| entry.port == port)
    }

    /// Performs the handshake. The caller sets the deadline.
    ///
    /// # Errors
    /// The handshake failed, or no server answers to the name: then the connection is closed.
    pub(crate) async fn accept(
        &self,
        port: u16,
        tcp: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, TlsFacts, HttpVersion)> {
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
        let name = hello
            .client_hello()
            .server_name()
            .map(str::to_ascii_lowercase);
        let config = self.config_for(port, name.as_deref()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "no server with a certificate has this name",
            )
        })?;
        let stream = hello.into_stream(config).await?;
        let (_, session) = stream.get_ref();
        let version = if session.alpn_protocol() == Some(H2) {
            HttpVersion::Two
        } else {
            HttpVersion::One
        };
        let facts = TlsFacts {
            sni: name.unwrap_or_default().into(),
            client_certificate: session
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|certificate| sha256(certificate)),
        };
        Ok((stream, facts, version))
    }

    /// The terms of the server that answers to `name`; the most specific one wins. Without a name
    /// only a server for every host will do.
    fn config_for(&self, port: u16, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let ports = self.ports.load();
        let entry = ports.iter().find(|entry| entry.port == port)?;
        let best = entry
            .servers
            .iter()
            .filter_map(|server| {
                let rank = server
                    .hosts
                    .iter()
                    .filter_map(|host| host.rank(name))
                    .max()?;
                Some((rank, server))
            })
            .max_by_key(|(rank, _)| *rank)?;
        best.1.config.clone()
    }
}

fn sha256(certificate: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    bytes
}

/// The terms of one server.
///
/// # Errors
/// `MUTUAL` without roots, or roots that are of no use.
pub(crate) fn server_config(
    credential: &Credential,
    versions: &[&'static SupportedProtocolVersion],
    clients: ClientCertificate,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsTermsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?;
    let builder = match clients {
        ClientCertificate::Ignored => builder.with_no_client_auth(),
        ClientCertificate::Optional | ClientCertificate::Required => {
            let roots = credential
                .client_roots
                .clone()
                .ok_or(TlsTermsError::NoClientRoots)?;
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if clients == ClientCertificate::Optional {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&credential.key)));
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    if clients != ClientCertificate::Ignored {
        // A resumed session would skip the verifier (design, decision 8).
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// Why the terms of a TLS server cannot be met.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsTermsError {
    /// Client certificates are asked for, but nobody says which.
    #[error("client certificates are required but the credential has no ca.crt")]
    NoClientRoots,
    /// The roots for client certificates are unusable.
    #[error("the roots for client certificates cannot be used")]
    ClientRoots(#[from] rustls::server::VerifierBuilderError),
    /// Versions and cipher suites do not fit together.
    #[error("the TLS versions cannot be served")]
    Versions(#[from] rustls::Error),
}
