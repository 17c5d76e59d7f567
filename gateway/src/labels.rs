//! The numbers by which metrics know the clusters and endpoints of a snapshot, looked up once.

use std::sync::Arc;

use arc_swap::ArcSwap;
use dataplane::Snapshot;
use dataplane::telemetry::{DestinationService, Party, PartyId, RequestMetrics, ServiceId};
use identity::SpiffeId;
use policies::cluster::{Cluster, ClusterIndex, Endpoint};

/// The labels of the newest snapshot that was asked about.
#[derive(Debug, Default)]
pub(crate) struct LabelCache(ArcSwap<Labels>);

/// The labels of one snapshot, by cluster and endpoint position.
#[derive(Debug, Default)]
pub(crate) struct Labels {
    generation: u64,
    clusters: Box<[ClusterLabels]>,
}

#[derive(Debug)]
struct ClusterLabels {
    service: ServiceId,
    endpoints: Box<[PartyId]>,
}

impl LabelCache {
    /// The labels of `snapshot`.
    pub(crate) fn of(&self, snapshot: &Snapshot, metrics: &RequestMetrics) -> Arc<Labels> {
        let cached = self.0.load();
        if cached.generation == snapshot.generation {
            return Arc::clone(&cached);
        }
        let labels = Arc::new(Labels::new(snapshot, metrics));
        if cached.generation < snapshot.generation {
            self.0.store(Arc::clone(&labels));
        }
        labels
    }
}

impl Labels {
    fn new(snapshot: &Snapshot, metrics: &RequestMetrics) -> Self {
        let labels = snapshot.clusters.iter().map(|(_, cluster)| ClusterLabels {
            service: metrics.service(&service(cluster)),
            endpoints: cluster
                .endpoints
                .iter()
                .map(|e| metrics.party(&party(e)))
                .collect(),
        });
        Self {
            generation: snapshot.generation,
            clusters: labels.collect(),
        }
    }

    /// The service of a cluster.
    pub(crate) fn service(&self, cluster: ClusterIndex) -> ServiceId {
        self.clusters
            .get(cluster.position())
            .map(|labels| labels.service)
            .unwrap_or_default()
    }

    /// The workload behind an endpoint.
    pub(crate) fn endpoint(&self, cluster: ClusterIndex, endpoint: usize) -> PartyId {
        let labels = self.clusters.get(cluster.position());
        labels
            .and_then(|labels| labels.endpoints.get(endpoint))
            .copied()
            .unwrap_or_default()
    }
}

fn service(cluster: &Cluster) -> DestinationService {
    DestinationService {
        host: Arc::clone(&cluster.service.host),
        name: Arc::clone(&cluster.service.name),
        namespace: Arc::clone(&cluster.service.namespace),
    }
}

fn party(endpoint: &Endpoint) -> Party {
    let workload = &endpoint.workload;
    let principal = endpoint
        .expected
        .as_deref()
        .and_then(|id| SpiffeId::parse(id).ok());
    Party::workload(
        &workload.name,
        &workload.namespace,
        principal.as_ref(),
        |label| match label {
            "app" if !workload.app.is_empty() => Some(&*workload.app),
            "version" if !workload.version.is_empty() => Some(&*workload.version),
            label => endpoint.labels.get(label).map(String::as_str),
        },
    )
}
