//! Ends TLS: the server name picks a `Gateway` server, the server its certificate and its terms.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dataplane::tcp::Opening;
use policies::listener::{
    GatewayListeners, GatewayPort, GatewayServer, ListenerTls, Protocol, TlsTerms, TlsVersion,
};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::server::{StartHandshake, TlsStream};

use crate::connection::{HttpVersion, TlsFacts};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// What a server's terms depend on: the credential, the oldest version, and whether HTTP is agreed on.
type Terms = (Arc<str>, TlsVersion, bool);

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
        for (server, tls) in terms(listeners) {
            if let Some(certificate) = certificates.get(&tls.credential_name) {
                let terms = terms_of(server, tls);
                let config = server_config(certificate, &terms, provider)?;
                configs.insert(terms, config);
            }
        }
        Ok(Self {
            listeners: listeners.clone(),
            configs,
        })
    }

    fn config(&self, port: u16, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let server = self.listeners.port(port)?.server_for(name)?;
        let tls = server.tls.as_ref()?.terms()?;
        self.configs.get(&terms_of(server, tls)).cloned()
    }
}

/// The terms of every server that ends TLS, in document order.
fn terms(listeners: &GatewayListeners) -> impl Iterator<Item = (&GatewayServer, &TlsTerms)> {
    listeners
        .ports
        .iter()
        .flat_map(|port| &port.servers)
        .filter_map(|server| Some((server, server.tls.as_ref()?.terms()?)))
}

fn terms_of(server: &GatewayServer, tls: &TlsTerms) -> Terms {
    let http = server.protocol != Protocol::Tls;
    (Arc::clone(&tls.credential_name), tls.min_version, http)
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

/// How the connections of a port begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With HTTP.
    Http,
    /// With a ClientHello.
    Tls,
    /// With anything, from either side.
    Opaque,
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

    /// How connections to `port` begin.
    pub(crate) fn begins(&self, port: u16) -> Beginning {
        let servers = self.servers.load();
        match servers.listeners.port(port) {
            Some(port) if port.is_tls() => Beginning::Tls,
            Some(port) if port.protocol == Protocol::Tcp => Beginning::Opaque,
            // A port without servers answers as those without routes do.
            Some(_) | None => Beginning::Http,
        }
    }

    /// Whether TLS with this server name goes on to an endpoint.
    pub(crate) fn passes(&self, port: u16, sni: Option<&str>) -> bool {
        self.server(port, sni, |server| server.tls == Some(ListenerTls::Passed))
    }

    /// Whether it is not HTTP that stands behind TLS with this server name.
    pub(crate) fn is_opaque(&self, port: u16, sni: Option<&str>) -> bool {
        self.server(port, sni, |server| server.protocol == Protocol::Tls)
    }

    fn server(&self, port: u16, sni: Option<&str>, ask: fn(&GatewayServer) -> bool) -> bool {
        let servers = self.servers.load();
        let port = servers.listeners.port(port);
        port.and_then(|port| port.server_for(sni)).is_some_and(ask)
    }

    /// Ends TLS that began with `opening`. The caller sets the deadline.
    ///
    /// # Errors
    /// The handshake failed, or no server with a certificate answers to the name: then the
    /// connection is closed.
    pub(crate) async fn accept(
        &self,
        port: u16,
        tcp: TcpStream,
        opening: Opening,
    ) -> io::Result<(TlsStream<TcpStream>, TlsFacts, HttpVersion)> {
        let sni = opening.sni();
        let hello = opening
            .hello
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a TLS handshake"))?;
        let config = self
            .servers
            .load()
            .config(port, sni.as_deref())
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "no server with a certificate has this name",
                )
            })?;
        let stream = StartHandshake::from_parts(hello, tcp)
            .into_stream(config)
            .await?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(H2) => HttpVersion::Two,
            _ => HttpVersion::One,
        };
        Ok((stream, TlsFacts { sni }, version))
    }
}

fn server_config(
    certificate: &Arc<CertifiedKey>,
    (_, oldest, http): &Terms,
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
    if *http {
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    }
    Ok(Arc::new(config))
}
