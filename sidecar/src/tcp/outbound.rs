//! A local port that is a service of the mesh: bytes in, verified mTLS out, by the service's `tcp` and `tls` routes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::OpaqueStream;
use dataplane::passthrough::Stranger;
use dataplane::tcp::{Abort as _, Account, Changes, Opening, Peer, Way, relay, server_lost};
use dataplane::telemetry::{Reporter, ResponseFlags};
use policies::route::{OpaqueError, OpaqueRules, Unrouted};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{Timeouts, Upstream};
use crate::proxy::Proxy;

/// One listener for the connections of the application to one service.
pub(crate) struct TcpOutbound {
    proxy: Arc<Proxy>,
    service: String,
    port: u16,
    handshake_timeout: Duration,
    idle: Duration,
}

impl TcpOutbound {
    pub(crate) fn new(proxy: Arc<Proxy>, timeouts: &Timeouts, upstream: &Upstream) -> Self {
        Self {
            proxy,
            service: upstream.service.clone(),
            port: upstream.port,
            handshake_timeout: timeouts.handshake,
            idle: timeouts.tcp_idle,
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, mut tcp: TcpStream, remote: SocketAddr) {
        let Ok(local) = tcp.local_addr() else { return };
        let mut peer = Peer::unproved(remote, local, self.proxy.party);
        let carrier = &self.proxy.tcp;
        let mut changes = Changes::follow(carrier);
        let first = match self.opening(&mut tcp, &mut peer).await {
            Ok(first) => first,
            Err(error) => {
                tracing::debug!(%remote, service = self.service, %error, "connection refused");
                tcp.abort();
                return;
            }
        };
        let mut account = Account::begin(carrier, Reporter::Source, &peer);
        let Some(opened) = self.open(&peer, &mut account).await else {
            // The application must not take a failure for an empty answer.
            tcp.abort();
            return;
        };
        let (mut upstream, generation) = opened;
        let server = upstream.take_peer();
        let cut = server_lost(carrier, server.as_ref(), &mut changes, generation);
        let end = relay(tcp, upstream, &first, self.idle, &mut account, cut).await;
        account.ended(&end);
        tracing::debug!(
            service = self.service,
            port = self.port,
            ?end,
            "connection ended"
        );
    }

    /// Reads the ClientHello if a route wants to know the server name; otherwise nothing, for the server may be the one
    /// that speaks first.
    async fn opening(&self, tcp: &mut TcpStream, peer: &mut Peer) -> io::Result<Vec<u8>> {
        let Some(snapshot) = self.proxy.store.snapshot() else {
            return Ok(Vec::new());
        };
        let rules = snapshot.routes.opaque(&self.service, self.port);
        if !rules.is_ok_and(OpaqueRules::look_at_sni) {
            return Ok(Vec::new());
        }
        drop(snapshot);
        let opening = timeout(self.handshake_timeout, Opening::read(tcp)).await??;
        peer.sni = opening.sni();
        Ok(opening.read)
    }

    /// A connection to an endpoint of the service, and the generation that knew it.
    async fn open(&self, peer: &Peer, account: &mut Account) -> Option<(OpaqueStream, u64)> {
        let proxy = &self.proxy;
        let Some(snapshot) = proxy.store.snapshot() else {
            account.failed(ResponseFlags::NO_ROUTE_FOUND, "no_policy_generation");
            return None;
        };
        account.generation(snapshot.generation);
        let (service, port) = (&self.service, self.port);
        let way = Way {
            forwarder: &proxy.forwarder,
            names: |snapshot: &_, cluster, endpoint| proxy.destination(snapshot, cluster, endpoint),
        };
        let error = match snapshot.routes.opaque(service, port) {
            Ok(rules) => {
                let stream = proxy
                    .tcp
                    .open(&snapshot, rules, peer, account, &way)
                    .await?;
                return Some((stream, snapshot.generation));
            }
            Err(error) => error,
        };
        let host = service.to_ascii_lowercase();
        if error == OpaqueError::Unknown && snapshot.routes.unrouted(&host) == Unrouted::Passed {
            let stranger = Stranger {
                host: &host,
                port,
                own: peer.local,
            };
            let stream = proxy.tcp.pass(stranger, account, &way).await?;
            return Some((stream, snapshot.generation));
        }
        tracing::warn!(service, port, %error, "no connection");
        let details = match error {
            OpaqueError::Unknown => "service_not_declared",
            OpaqueError::Hidden => "service_not_visible",
            OpaqueError::Http => "port_speaks_http",
        };
        account.black_hole(details);
        None
    }
}
