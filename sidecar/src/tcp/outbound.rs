//! A local port that is a service of the mesh: bytes in, verified mTLS out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dataplane::telemetry::{Reporter, ResponseFlags};
use dataplane::{OpaqueStream, Opened};
use policies::route::OpaqueError;
use tokio::net::TcpStream;

use super::account::Account;
use super::changes::Changes;
use super::gate::Refusal;
use super::relay::{Abort as _, relay};
use crate::config::{Timeouts, Upstream};
use crate::proxy::{Peer, Proxy};

/// One listener for the connections of the application to one service.
pub(crate) struct TcpOutbound {
    proxy: Arc<Proxy>,
    service: String,
    port: u16,
    idle: Duration,
}

impl TcpOutbound {
    pub(crate) fn new(proxy: Arc<Proxy>, timeouts: &Timeouts, upstream: &Upstream) -> Self {
        Self {
            proxy,
            service: upstream.service.clone(),
            port: upstream.port,
            idle: timeouts.tcp_idle,
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        let Ok(local) = tcp.local_addr() else { return };
        let peer = Peer {
            remote,
            local,
            proved: None,
            sni: None,
            party: self.proxy.party,
            is_gateway: false,
        };
        let mut changes = Changes::follow(&self.proxy);
        let mut account = Account::begin(&self.proxy, Reporter::Source, &peer);
        let Some(opened) = self.open(&mut account).await else {
            // The application must not take a failure for an empty answer.
            tcp.abort();
            return;
        };
        let (mut upstream, generation) = opened;
        let server = upstream.take_peer();
        let cut = async {
            loop {
                changes.next().await;
                let trusted = server.as_ref().is_none_or(|server| {
                    server.still_trusted(&self.proxy.material, SystemTime::now())
                });
                if !trusted {
                    return Refusal::of_server(generation);
                }
            }
        };
        let end = relay(tcp, upstream, &[], self.idle, &mut account, cut).await;
        account.ended(&end);
        tracing::debug!(
            service = self.service,
            port = self.port,
            ?end,
            "connection ended"
        );
    }

    /// A connection to an endpoint of the service, and the generation that knew it.
    async fn open(&self, account: &mut Account) -> Option<(OpaqueStream, u64)> {
        let proxy = &self.proxy;
        let Some(snapshot) = proxy.store.snapshot() else {
            account.failed(ResponseFlags::NO_ROUTE_FOUND, "no_policy_generation");
            return None;
        };
        account.generation(snapshot.generation);
        let (service, port) = (&self.service, self.port);
        let cluster = match snapshot.routes.opaque(service, port) {
            Ok(cluster) => cluster,
            Err(error) => {
                tracing::warn!(service, port, %error, "no connection");
                let details = match error {
                    OpaqueError::Unknown => "service_not_declared",
                    OpaqueError::Http => "port_speaks_http",
                };
                account.failed(ResponseFlags::NO_ROUTE_FOUND, details);
                return None;
            }
        };
        let Opened { result, outcome } = proxy.forwarder.open(&snapshot, cluster).await;
        let (name, party) = proxy.destination(&snapshot, cluster, outcome.endpoint);
        account.outcome(&outcome, snapshot.cluster_name(cluster));
        account.opened(name, party);
        match result {
            Ok(stream) => Some((stream, snapshot.generation)),
            Err(error) => {
                tracing::warn!(service, port, %error, endpoint = ?outcome.address, "no connection");
                None
            }
        }
    }
}
