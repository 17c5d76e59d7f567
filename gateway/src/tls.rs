//! Ends TLS: the server name picks a `Gateway` server, the server its certificate and its terms.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use policies::listener::{GatewayListeners, GatewayPort, ListenerTls, Protocol, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::{HttpVersion, TlsFacts};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// What a server's terms depend on.
type Terms = (Arc<str>, TlsVersion);

/// The TLS servers in force: the listeners of a snapshot with the certificates at hand.
#[derive(Debug, Default)]
pub(crate) struct TlsServers {
    listeners: GatewayListeners,
    configs: BTreeMap<Terms, Arc<ServerConfig>>,
}

impl TlsServers {
    /// Joins the listeners with their certificates; a server whose certificate is missing refuses
    /// its handshakes. Names the credentials that could not be used.
    pub(crate) fn new(
        listeners: &GatewayListeners,
        certificates: &HashMap<Arc<str>, Arc<CertifiedKey>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let mut configs = BTreeMap::new();
        for tls in terms(listeners) {
            if let Some(certificate) = certificates.get(&tls.credential_name) {
                let config = server_config(certificate, tls.min_version, provider)?;
                configs.insert((Arc::clone(&tls.credential_name), tls.min_version), config);
            }
        }
        Ok(Self {
            listeners: listeners.clone(),
            configs,
        })
    }

    fn config(&self, port: u16, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let tls = self.listeners.port(port)?.server_for(name)?.tls.as_ref()?;
        self.configs
            .get(&(Arc::clone(&tls.credential_name), tls.min_version))
            .cloned()
    }
}

/// The TLS of every server, in document order.
pub(crate) fn terms(listeners: &GatewayListeners) -> impl Iterator<Item = &ListenerTls> {
    listeners
        .ports
        .iter()
        .flat_map(|port| &port.servers)
        .filter_map(|server| server.tls.as_ref())
}

/// Whether `host`, without its port, belongs to the very server that `sni` chose. A connection may
/// not reach a server whose terms it has not met (RFC 9110 §15.5.20).
pub(crate) fn same_server(port: &GatewayPort, sni: Option<&str>, host: &str) -> bool {
    match (port.server_for(sni), port.server_for(Some(host))) {
        (Some(chosen), Some(meant)) => std::ptr::eq(chosen, meant),
        // The route table answers for a host that no server has.
        (_, None) => true,
        (None, Some(_)) => false,
    }
}

/// Performs handshakes with the TLS servers in force.
#[derive(Debug, Default)]
pub(crate) struct TlsTerminator {
    servers: ArcSwap<TlsServers>,
}

impl TlsTerminator {
    /// Puts new servers in force, for the handshakes from now on.
    pub(crate) fn publish(&self, servers: TlsServers) {
        self.servers.store(Arc::new(servers));
    }

    /// Whether connections to `port` begin with a TLS handshake.
    pub(crate) fn serves(&self, port: u16) -> bool {
        let servers = self.servers.load();
        servers
            .listeners
            .port(port)
            .is_some_and(|port| port.protocol == Protocol::Https)
    }

    /// Performs the handshake. The caller sets the deadline.
    ///
    /// # Errors
    /// The handshake failed, or no server with a certificate answers to the name: then the
    /// connection is closed.
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
        let config = self
            .servers
            .load()
            .config(port, name.as_deref())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "no server with a certificate has this name",
                )
            })?;
        let stream = hello.into_stream(config).await?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(H2) => HttpVersion::Two,
            _ => HttpVersion::One,
        };
        Ok((
            stream,
            TlsFacts {
                sni: name.map(Arc::from),
            },
            version,
        ))
    }
}

fn server_config(
    certificate: &Arc<CertifiedKey>,
    oldest: TlsVersion,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(certificate)));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    Ok(Arc::new(config))
}
