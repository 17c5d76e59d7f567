//! What every request of this sidecar shares, and what every request of one connection shares.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dataplane::chaos::Chaos;
use dataplane::config::ForwardedPath;
use dataplane::shed::Shedder;
use dataplane::sizes::SizeLimits;
use dataplane::tcp::Carrier;
use dataplane::telemetry::{
    AccessLog, DestinationService, Party, PartyId, RequestMetrics, ServiceId,
};
use dataplane::{Access, Begun, Forwarder, PolicyStore, Router, Snapshot};
use hyper::body::Incoming;
use identity::material::MaterialReader;
use identity::peer_of::ConnectionPeer;
use identity::{PeerIdentity, SpiffeId};
use policies::cluster::ClusterIndex;
use policies::workload::Workload;
use runtime::lifecycle::Lifecycle;

/// The longest time to connect to the application beside us.
pub(crate) const APP_CONNECT: Duration = Duration::from_secs(5);

/// A request's body on its way to the application or into the mesh.
pub(crate) type RequestBody = Begun<Incoming>;

/// The parts of a running sidecar.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) store: PolicyStore,
    pub(crate) material: MaterialReader,
    pub(crate) forwarder: Forwarder<RequestBody>,
    /// Carries out the routes of what goes out, by the same forwarder.
    pub(crate) router: Router<Incoming>,
    /// Decides about what comes in.
    pub(crate) access: Access,
    /// What goes wrong on purpose before the application.
    pub(crate) chaos: Chaos,
    /// The door to the application.
    pub(crate) shedder: Shedder,
    /// How large bodies may be.
    pub(crate) sizes: SizeLimits,
    /// Which form of a path goes on.
    pub(crate) path: ForwardedPath,
    pub(crate) metrics: RequestMetrics,
    /// What connections have that nobody looks into.
    pub(crate) tcp: Arc<Carrier>,
    pub(crate) access_log: AccessLog,
    pub(crate) life: Lifecycle,
    pub(crate) id: SpiffeId,
    pub(crate) workload: Workload,
    /// Peers whose word about the client behind them is believed.
    pub(crate) gateways: Vec<SpiffeId>,
    /// This workload, for metrics.
    pub(crate) party: PartyId,
    /// Names for metrics, made once per generation.
    pub(crate) names: ArcSwap<Names>,
}

/// The other end of one connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Proved by mTLS.
    pub(crate) proved: Option<ConnectionPeer>,
    pub(crate) sni: Option<Arc<str>>,
    /// For metrics.
    pub(crate) party: PartyId,
    /// Whether it is one of [`Proxy::gateways`].
    pub(crate) is_gateway: bool,
}

impl Peer {
    pub(crate) fn identity(&self) -> Option<&PeerIdentity> {
        self.proved.as_ref().map(ConnectionPeer::identity)
    }
}

/// Interned names of one policy generation.
#[derive(Debug, Default)]
pub(crate) struct Names {
    generation: u64,
    /// The service that this workload stands behind.
    own: ServiceId,
    /// By cluster position: the service and its endpoints' workloads.
    clusters: Vec<(ServiceId, Vec<PartyId>)>,
}

impl Proxy {
    /// The service that this workload stands behind.
    pub(crate) fn own_service(&self, snapshot: &Snapshot) -> ServiceId {
        self.with_names(snapshot, |names| names.own)
    }

    /// The service of a cluster, and the workload behind one of its endpoints.
    pub(crate) fn destination(
        &self,
        snapshot: &Snapshot,
        cluster: ClusterIndex,
        endpoint: Option<usize>,
    ) -> (ServiceId, PartyId) {
        self.with_names(snapshot, |names| {
            let Some((service, endpoints)) = names.clusters.get(cluster.position()) else {
                return (ServiceId::default(), PartyId::default());
            };
            let party = endpoint.and_then(|position| endpoints.get(position));
            (*service, party.copied().unwrap_or_default())
        })
    }

    fn with_names<T>(&self, snapshot: &Snapshot, read: impl FnOnce(&Names) -> T) -> T {
        let names = self.names.load();
        if names.generation == snapshot.generation {
            return read(&names);
        }
        let fresh = Arc::new(self.names_of(snapshot));
        self.names.store(Arc::clone(&fresh));
        read(&fresh)
    }

    fn names_of(&self, snapshot: &Snapshot) -> Names {
        let mut own = None;
        let mut clusters = Vec::with_capacity(snapshot.clusters.len());
        for (_, cluster) in snapshot.clusters.iter() {
            let service = self.metrics.service(&DestinationService {
                host: Arc::clone(&cluster.service.host),
                name: Arc::clone(&cluster.service.name),
                namespace: Arc::clone(&cluster.service.namespace),
            });
            let mut parties = Vec::with_capacity(cluster.endpoints.len());
            for endpoint in &cluster.endpoints {
                let workload = &endpoint.workload;
                if *workload.name == *self.workload.name
                    && *workload.namespace == *self.workload.namespace
                {
                    own.get_or_insert(service);
                }
                let principal = endpoint
                    .expected
                    .as_deref()
                    .and_then(|id| SpiffeId::parse(id).ok());
                let party = Party::workload(
                    &workload.name,
                    &workload.namespace,
                    principal.as_ref(),
                    |label| endpoint.labels.get(label).map(String::as_str),
                );
                parties.push(self.metrics.party(&party));
            }
            clusters.push((service, parties));
        }
        Names {
            generation: snapshot.generation,
            own: own.unwrap_or_default(),
            clusters,
        }
    }
}
