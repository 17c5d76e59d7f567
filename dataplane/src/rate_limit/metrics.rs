//! Limits in numbers, read from the limits in force whenever the metrics are asked for.

use parking_lot::Mutex;
use policies::rate_limit::Limits;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::RateLimiter;
use crate::policy_store::PolicyStore;

struct LimitMetrics {
    limiter: RateLimiter,
    store: PolicyStore,
    /// Held while the families are filled and read, so that two readers do not mix.
    filling: Mutex<()>,
    requests: IntCounterVec,
    displaced: IntCounter,
}

pub(super) fn register(
    limiter: RateLimiter,
    store: PolicyStore,
    registry: &Registry,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(LimitMetrics {
        limiter,
        store,
        filling: Mutex::new(()),
        requests: IntCounterVec::new(
            Opts::new(
                "portcullis_rate_limit_requests_total",
                "Requests that a limit is about, by what became of them: within, refused, unenforced, or failed when \
                 whoever counts did not answer.",
            ),
            &["document", "limit", "result"],
        )?,
        displaced: IntCounter::new(
            "portcullis_rate_limit_displaced_keys_total",
            "Buckets of keys that were forgotten for want of room before they were full.",
        )?,
    }))
}

impl LimitMetrics {
    fn fill(&self, limits: &Limits) {
        for (name, counts) in limits.counts() {
            for (result, count) in [
                ("within", counts.within()),
                ("refused", counts.refused()),
                ("unenforced", counts.unenforced()),
                ("failed", counts.failed()),
            ] {
                let labels = [&*limits.document, name, result];
                self.requests.with_label_values(&labels).inc_by(count);
            }
        }
    }
}

impl Collector for LimitMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.requests.desc();
        all.extend(self.displaced.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _filling = self.filling.lock();
        self.requests.reset();
        if let Some(snapshot) = self.store.snapshot() {
            for limits in snapshot.rate_limits.all() {
                self.fill(limits);
            }
        }
        self.displaced.reset();
        self.displaced.inc_by(self.limiter.0.buckets.displaced());
        let mut families = self.requests.collect();
        families.extend(self.displaced.collect());
        families
    }
}
