//! Breakers in numbers, read whenever the metrics are asked for. Only clusters with a breaker or a limit have series, and
//! no more than a bounded number of endpoints.

use parking_lot::Mutex;
use policies::resilience::{BreakerState, Moment};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::clock;
use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;

/// Endpoints with series of their own.
const MOST_ENDPOINTS: usize = 2000;

const CLUSTER: [&str; 1] = ["cluster"];
const ENDPOINT: [&str; 2] = ["cluster", "endpoint"];

struct BreakerMetrics {
    store: PolicyStore,
    /// Held while the families are filled and read, so that two readers do not mix.
    filling: Mutex<()>,
    endpoints: IntGaugeVec,
    services: IntGaugeVec,
    ejections: IntCounterVec,
    spared: IntCounterVec,
    active: IntGaugeVec,
    overflows: IntCounterVec,
}

/// Registers the metrics of a proxy's breakers.
///
/// # Errors
/// When the names are registered already.
pub fn register(store: &PolicyStore, registry: &Registry) -> Result<(), prometheus::Error> {
    let gauge =
        |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
    let counter =
        |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
    registry.register(Box::new(BreakerMetrics {
        store: store.clone(),
        filling: Mutex::new(()),
        endpoints: gauge(
            "portcullis_breaker_state",
            "The breaker of an endpoint: 0 closed, 1 half-open, 2 open.",
            &ENDPOINT,
        )?,
        services: gauge(
            "portcullis_breaker_service_state",
            "The breaker of a service, from its endpoints: 0 any is closed, 1 none but one is half-open, 2 all are open.",
            &CLUSTER,
        )?,
        ejections: counter(
            "portcullis_breaker_ejections_total",
            "How often an endpoint was ejected.",
            &ENDPOINT,
        )?,
        spared: counter(
            "portcullis_breaker_spared_total",
            "Ejections that maxEjectionPercent did not allow.",
            &CLUSTER,
        )?,
        active: gauge(
            "portcullis_cluster_active_requests",
            "Requests under way to a cluster.",
            &CLUSTER,
        )?,
        overflows: counter(
            "portcullis_cluster_overflow_total",
            "Requests that http2MaxRequests turned away.",
            &CLUSTER,
        )?,
    }))
}

const fn number(state: BreakerState) -> i64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

impl BreakerMetrics {
    fn families(&self) -> [&dyn Collector; 6] {
        [
            &self.endpoints,
            &self.services,
            &self.ejections,
            &self.spared,
            &self.active,
            &self.overflows,
        ]
    }

    fn fill(&self, snapshot: &Snapshot, now: Moment) {
        for counter in [&self.ejections, &self.spared, &self.overflows] {
            counter.reset();
        }
        for gauge in [&self.endpoints, &self.services, &self.active] {
            gauge.reset();
        }
        let mut room = MOST_ENDPOINTS;
        for (index, cluster) in snapshot.clusters.iter() {
            let Some(live) = snapshot.live(index) else {
                continue;
            };
            let settings = live.settings();
            let watched = settings.detection.is_some();
            if !watched && settings.pool.max_requests.is_none() {
                continue;
            }
            let name = cluster.key.to_string();
            let labels = [name.as_str()];
            let active = self.active.with_label_values(&labels);
            active.set(i64::from(live.active()));
            let overflows = self.overflows.with_label_values(&labels);
            overflows.inc_by(live.overflows());
            if !watched {
                continue;
            }
            let state = number(live.breaker(now));
            self.services.with_label_values(&labels).set(state);
            let spared = self.spared.with_label_values(&labels);
            spared.inc_by(live.spared());
            for endpoint in live.endpoint_states(now).take(room) {
                room = room.saturating_sub(1);
                let address = endpoint.address.to_string();
                let labels = [name.as_str(), address.as_str()];
                let state = self.endpoints.with_label_values(&labels);
                state.set(number(endpoint.breaker));
                let ejections = self.ejections.with_label_values(&labels);
                ejections.inc_by(endpoint.ejections);
            }
        }
    }
}

impl Collector for BreakerMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let families = self.families().into_iter();
        families.flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(snapshot) = self.store.snapshot() else {
            return Vec::new();
        };
        let _filling = self.filling.lock();
        self.fill(&snapshot, clock::now());
        self.families()
            .into_iter()
            .flat_map(Collector::collect)
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}
