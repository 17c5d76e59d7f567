//! Connections from the mesh to a port of the application that speaks no HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use authz::MtlsMode;
use dataplane::tcp::{Abort, Account, Changes, Gate, ISTIO_ALPN, Opening, Peer, Side, relay};
use dataplane::telemetry::{Party, PartyId, Reporter};
use identity::peer_of::ConnectionPeer;
use identity::server::{ClientCertificates, server_config};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::{StartHandshake, TlsStream};

use crate::config::{Inbound as Port, Timeouts};
use crate::proxy::{APP_CONNECT, Proxy};

/// How long a PERMISSIVE port waits for a ClientHello before it takes the client for one that waits for the server's
/// first word. Istio would wait for ever.
const SILENCE: Duration = Duration::from_secs(1);

/// One TCP port of the workload.
pub(crate) struct TcpInbound {
    proxy: Arc<Proxy>,
    gate: Gate,
    /// For peers that offer an ALPN name of Istio's.
    mesh: Arc<ServerConfig>,
    /// For all others.
    nameless: Arc<ServerConfig>,
    handshake_timeout: Duration,
    idle: Duration,
    port: u16,
    app: SocketAddr,
}

/// A connection as it came in.
struct Arrival {
    tcp: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    changes: Changes,
}

impl TcpInbound {
    pub(crate) fn new(proxy: Arc<Proxy>, timeouts: &Timeouts, port: &Port) -> Self {
        let tls =
            |alpn: &[&[u8]]| server_config(&proxy.material, ClientCertificates::Require, alpn);
        Self {
            mesh: tls(&ISTIO_ALPN),
            nameless: tls(&[]),
            gate: Gate::new(Arc::clone(&proxy.tcp), port.port, Side::Mesh),
            handshake_timeout: timeouts.handshake,
            idle: timeouts.tcp_idle,
            port: port.port,
            app: port.app,
            proxy,
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        if let Err(error) = self.admit(tcp, remote).await {
            tracing::debug!(%remote, port = self.port, %error, "connection refused");
        }
    }

    /// Ends mTLS as PeerAuthentication wants it for this port now; what does not fit is closed without a word.
    async fn admit(&self, tcp: TcpStream, remote: SocketAddr) -> io::Result<()> {
        // Before anything is looked at: what changes from here on is looked at again.
        let changes = Changes::follow(&self.proxy.tcp);
        let Some(snapshot) = self.proxy.store.snapshot() else {
            return Err(io::Error::other("no policy generation in force yet"));
        };
        let mode = snapshot.mtls.for_port(self.port);
        drop(snapshot);
        let local = tcp.local_addr()?;
        let mut arrival = Arrival {
            tcp,
            remote,
            local,
            changes,
        };
        let limit = self.handshake_timeout;
        match mode {
            MtlsMode::Disable => self.plaintext(arrival, &[]).await,
            MtlsMode::Strict => {
                let opening = timeout(limit, Opening::read(&mut arrival.tcp)).await??;
                self.mutual(arrival, opening).await
            }
            MtlsMode::Permissive => {
                let silence = SILENCE.min(limit);
                let opening = Opening::read_or_silence(&mut arrival.tcp, silence);
                let opening = timeout(limit, opening).await??;
                // TLS of the application's own is none of ours: its ClientHello does not speak of Istio.
                if opening.is_of_mesh() {
                    self.mutual(arrival, opening).await
                } else {
                    self.plaintext(arrival, &opening.read).await
                }
            }
        }
    }

    async fn plaintext(&self, arrival: Arrival, first: &[u8]) -> io::Result<()> {
        let peer = Peer::unproved(arrival.remote, arrival.local, PartyId::default());
        self.connect(arrival.tcp, first, peer, arrival.changes)
            .await
    }

    async fn mutual(&self, arrival: Arrival, opening: Opening) -> io::Result<()> {
        let config = if opening.is_of_mesh() {
            &self.mesh
        } else {
            &self.nameless
        };
        let Some(hello) = opening.hello else {
            return Err(io::Error::other("plaintext where mTLS is STRICT"));
        };
        // Before the handshake: roots that change meanwhile make the first judgement check again.
        let trust_generation = self.proxy.material.trust_generation();
        let handshake =
            StartHandshake::from_parts(hello, arrival.tcp).into_stream(Arc::clone(config));
        let tls: TlsStream<TcpStream> = timeout(self.handshake_timeout, handshake).await??;
        let (_, session) = tls.get_ref();
        let proved = ConnectionPeer::new(session, trust_generation).map_err(io::Error::other)?;
        let id = &proved.identity().id;
        let peer = Peer {
            remote: arrival.remote,
            local: arrival.local,
            sni: session
                .server_name()
                .map(|name| name.to_ascii_lowercase().into()),
            party: self.proxy.metrics.party(&Party::peer(id)),
            proved: Some(proved),
        };
        self.connect(tls, &[], peer, arrival.changes).await
    }

    /// The judgement, and only then the application.
    async fn connect<S>(
        &self,
        client: S,
        first: &[u8],
        peer: Peer,
        mut changes: Changes,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Abort + Unpin,
    {
        let proxy = &self.proxy;
        let Some(snapshot) = proxy.store.snapshot() else {
            return Err(io::Error::other("no policy generation in force"));
        };
        let mut account = Account::begin(&proxy.tcp, Reporter::Destination, &peer);
        account.opened(proxy.own_service(&snapshot), proxy.party);
        let admission = match self.gate.admit(&snapshot, &peer, &mut account).await {
            Ok(admission) => admission,
            Err(refusal) => {
                tracing::debug!(remote = %peer.remote, port = self.port, ?refusal, "connection denied");
                account.refused(&refusal);
                client.abort();
                return Ok(());
            }
        };
        drop(snapshot);
        account.app(self.app);
        let app = match timeout(APP_CONNECT, TcpStream::connect(self.app)).await {
            Ok(Ok(app)) => app,
            failed => {
                let reason = match failed {
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(_)) | Err(_) => "connecting took too long".to_owned(),
                };
                tracing::warn!(app = %self.app, reason, "the application takes no connection");
                account.app_gone(reason);
                client.abort();
                return Ok(());
            }
        };
        app.set_nodelay(true)?;
        let cut = self.gate.refused(&peer, admission, &mut changes);
        let end = relay(client, app, first, self.idle, &mut account, cut).await;
        account.ended(&end);
        tracing::debug!(remote = %peer.remote, port = self.port, ?end, "connection ended");
        Ok(())
    }
}
