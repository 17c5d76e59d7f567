//! From a route to a connection with an endpoint.

use std::time::SystemTime;

use identity::peer_of::ConnectionPeer;
use policies::cluster::ClusterIndex;
use policies::route::{ConnectionView, OpaqueRules};
use runtime::escape;

use super::{Account, Carrier, Changes, Peer, Refusal};
use crate::body::RequestBody;
use crate::forward::{Forwarder, Opened};
use crate::passthrough::{PASSTHROUGH, Stranger};
use crate::random;
use crate::snapshot::Snapshot;
use crate::telemetry::{PartyId, ResponseFlags, ServiceId};
use crate::upstream::OpaqueStream;

/// How the connections of one listener find their endpoints.
#[derive(Debug)]
pub struct Way<'a, B, N> {
    /// Opens connections.
    pub forwarder: &'a Forwarder<B>,
    /// The numbers by which metrics know a cluster's service and the workload behind one of its endpoints.
    pub names: N,
}

impl Carrier {
    /// A connection to an endpoint, as the first of `rules` that fits the peer wants it. What becomes of it stands in
    /// `account`; without a connection there is nothing more to say.
    pub async fn open<B, N>(
        &self,
        snapshot: &Snapshot,
        rules: &OpaqueRules,
        peer: &Peer,
        account: &mut Account,
        way: &Way<'_, B, N>,
    ) -> Option<OpaqueStream>
    where
        B: RequestBody,
        N: Fn(&Snapshot, ClusterIndex, Option<usize>) -> (ServiceId, PartyId),
    {
        let connection = ConnectionView {
            sni: peer.sni.as_deref(),
            source: peer.remote.ip(),
            destination: peer.local.ip(),
        };
        let Some(route) = rules.find(&connection) else {
            account.failed(ResponseFlags::NO_ROUTE_FOUND, "route_not_found");
            return None;
        };
        let clusters = route.clusters.as_ref();
        let Some(chosen) = clusters.and_then(|clusters| clusters.choose(random::number())) else {
            account.failed(ResponseFlags::NO_CLUSTER_FOUND, "cluster_not_found");
            return None;
        };
        let cluster = chosen.cluster;
        let Opened { result, outcome } = way.forwarder.open(snapshot, cluster).await;
        let (service, party) = (way.names)(snapshot, cluster, outcome.endpoint);
        account.outcome(&outcome, snapshot.cluster_name(cluster));
        account.opened(service, party);
        match result {
            Ok(stream) => Some(stream),
            Err(error) => {
                let cluster = snapshot.cluster_name(cluster);
                tracing::warn!(cluster = cluster.map(|name| &**name), %error, endpoint = ?outcome.address, "no connection");
                None
            }
        }
    }
}

impl Carrier {
    /// A connection to a host that no document declares, found by DNS and without TLS of ours (`ALLOW_ANY`).
    pub async fn pass<B, N>(
        &self,
        to: Stranger<'_>,
        account: &mut Account,
        way: &Way<'_, B, N>,
    ) -> Option<OpaqueStream>
    where
        B: RequestBody,
    {
        let Opened { result, outcome } = way.forwarder.pass_bytes(to).await;
        account.outcome(&outcome, Some(&PASSTHROUGH.into()));
        match result {
            Ok(stream) => Some(stream),
            Err(error) => {
                let host = escape::escape(to.host, escape::LIMIT);
                tracing::warn!(%host, port = to.port, %error, "no connection");
                None
            }
        }
    }
}

/// Waits until the server of an open connection has lost our trust.
pub async fn server_lost(
    carrier: &Carrier,
    server: Option<&ConnectionPeer>,
    changes: &mut Changes,
    generation: u64,
) -> Refusal {
    loop {
        changes.next().await;
        let trusted =
            server.is_none_or(|server| server.still_trusted(&carrier.material, SystemTime::now()));
        if !trusted {
            return Refusal::of_server(generation);
        }
    }
}
