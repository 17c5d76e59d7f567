//! `portcullis_dns_*`: how often names were asked for, and how old the answers are that outlived a failure.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

/// The metrics of one resolver; one series for each name of a document.
pub(super) struct DnsMetrics {
    lookups: IntCounterVec,
    stale: GaugeVec,
}

impl DnsMetrics {
    pub(super) fn new() -> Self {
        let made = Self::make();
        #[expect(
            clippy::expect_used,
            reason = "the names are constants and well formed"
        )]
        made.expect("well-formed metric names")
    }

    fn make() -> Result<Self, prometheus::Error> {
        Ok(Self {
            lookups: IntCounterVec::new(
                Opts::new(
                    "portcullis_dns_lookups_total",
                    "Look-ups of endpoints' names.",
                ),
                &["result"],
            )?,
            stale: GaugeVec::new(
                Opts::new(
                    "portcullis_dns_stale_seconds",
                    "Age of the addresses that are used although the last look-up of their name failed; 0 when it did not.",
                ),
                &["name"],
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.lookups.clone()))?;
        registry.register(Box::new(self.stale.clone()))
    }

    pub(super) fn answered(&self, name: &str) {
        self.lookups.with_label_values(&["ok"]).inc();
        self.stale.with_label_values(&[name]).set(0.0);
    }

    pub(super) fn failed(&self, name: &str, age: Option<Duration>) {
        self.lookups.with_label_values(&["failed"]).inc();
        if let Some(age) = age {
            self.stale.with_label_values(&[name]).set(age.as_secs_f64());
        }
    }

    pub(super) fn forget(&self, name: &str) {
        // It has no series if it was never resolved.
        self.stale.remove_label_values(&[name]).ok();
    }
}
