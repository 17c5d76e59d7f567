//! Connections to servers whose bytes the gateway does not look into: TCP, TLS that it ends, TLS that it passes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::tcp::{Abort, Account, Carrier, Changes, Gate, Peer, Side, Way, relay, server_lost};
use dataplane::telemetry::{Reporter, ResponseFlags};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::gateway::Gateway;

/// The way of opaque connections of one port.
#[derive(Debug)]
pub(crate) struct TcpDoor {
    gateway: Arc<Gateway>,
    carrier: Arc<Carrier>,
    gate: Gate,
    port: u16,
    idle: Duration,
}

/// How an opaque connection came.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Ours.
    pub(crate) local: SocketAddr,
    /// The server name of its TLS handshake, in lower case.
    pub(crate) sni: Option<Arc<str>>,
    /// What was read of it already.
    pub(crate) first: Vec<u8>,
}

impl TcpDoor {
    /// The way of connections to `port`, which may stay open for `idle` without a byte.
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        carrier: &Arc<Carrier>,
        port: u16,
        idle: Duration,
    ) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            carrier: Arc::clone(carrier),
            gate: Gate::new(Arc::clone(carrier), port, Side::Edge),
            port,
            idle,
        }
    }

    /// Serves one connection to its end: the judgement, the route, and only then the endpoint. Whoever is refused is
    /// reset without a word.
    pub(crate) async fn serve<S>(&self, client: S, arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Abort + Unpin,
    {
        let carrier = &self.carrier;
        let (remote, local) = (arrival.remote, arrival.local);
        let peer = Peer {
            sni: arrival.sni,
            ..Peer::unproved(remote, local, self.gateway.source)
        };
        let mut policies = Changes::follow(carrier);
        let mut trust = Changes::follow(carrier);
        let mut account = Account::begin(carrier, Reporter::Source, &peer);
        let Some(snapshot) = carrier.store.snapshot() else {
            account.failed(ResponseFlags::NO_ROUTE_FOUND, "no_policy_generation");
            client.abort();
            return;
        };
        let admission = match self.gate.admit(&snapshot, &peer, &mut account).await {
            Ok(admission) => admission,
            Err(refusal) => {
                debug!(%remote, port = self.port, ?refusal, "connection denied");
                account.refused(&refusal);
                client.abort();
                return;
            }
        };
        let way = Way {
            forwarder: &self.gateway.router.forwarder,
            names: |snapshot: &_, cluster, endpoint: Option<usize>| {
                let labels = self.gateway.labels.of(snapshot, &self.gateway.metrics);
                let party = endpoint.map(|endpoint| labels.endpoint(cluster, endpoint));
                (labels.service(cluster), party.unwrap_or_default())
            },
        };
        let rules = snapshot.routes.opaque_at(self.port, peer.sni.as_deref());
        let opened = if let Some(rules) = rules {
            carrier
                .open(&snapshot, rules, &peer, &mut account, &way)
                .await
        } else {
            account.failed(ResponseFlags::NO_ROUTE_FOUND, "route_not_found");
            None
        };
        let Some(mut upstream) = opened else {
            client.abort();
            return;
        };
        let generation = snapshot.generation;
        drop(snapshot);
        let server = upstream.take_peer();
        let cut = async {
            tokio::select! {
                refusal = self.gate.refused(&peer, admission, &mut policies) => refusal,
                refusal = server_lost(carrier, server.as_ref(), &mut trust, generation) => refusal,
            }
        };
        let first = &arrival.first;
        let end = relay(client, upstream, first, self.idle, &mut account, cut).await;
        account.ended(&end);
        debug!(%remote, port = self.port, ?end, "connection ended");
    }
}
