//! What the authority counts.

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

/// Counters and gauges of the authority; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `portcullis_ca_issued_total{method}`
    pub issued: IntCounterVec,
    /// `portcullis_ca_refused_total{code}`
    pub refused: IntCounterVec,
    /// `portcullis_ca_issuance_seconds`: from the request to the durable record
    pub latency: Histogram,
    /// `portcullis_ca_root_not_after_seconds`
    pub root_not_after: Gauge,
    /// `portcullis_ca_intermediate_not_after_seconds`
    pub intermediate_not_after: Gauge,
    /// `portcullis_ca_connections`
    pub connections: IntGauge,
    /// `portcullis_ca_handshake_failures_total{reason}`
    pub handshakes: IntCounterVec,
    /// `portcullis_ca_bundle_watchers`
    pub watchers: IntGauge,
    /// `portcullis_ca_entries`
    pub entries: IntGauge,
    /// `portcullis_ca_entries_rejected`: 1 while the files on disk are not the ones in force
    pub entries_rejected: IntGauge,
    /// `portcullis_ca_refusals_unrecorded_total`: refusals beyond what is written to the record
    pub unrecorded: prometheus::IntCounter,
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("portcullis_ca_{name}"), help);
        let latency = HistogramOpts::from(opts(
            "issuance_seconds",
            "Time from a request to its durable record, in seconds",
        ))
        .buckets(vec![
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
        ]);
        let metrics = Self {
            issued: IntCounterVec::new(opts("issued_total", "Certificates issued"), &["method"])?,
            refused: IntCounterVec::new(opts("refused_total", "Calls refused"), &["code"])?,
            latency: Histogram::with_opts(latency)?,
            root_not_after: Gauge::with_opts(opts(
                "root_not_after_seconds",
                "End of the root certificate, in seconds since 1970",
            ))?,
            intermediate_not_after: Gauge::with_opts(opts(
                "intermediate_not_after_seconds",
                "End of the intermediate certificate, in seconds since 1970",
            ))?,
            connections: IntGauge::with_opts(opts("connections", "Open connections"))?,
            handshakes: IntCounterVec::new(
                opts(
                    "handshake_failures_total",
                    "Connections lost before their first request",
                ),
                &["reason"],
            )?,
            watchers: IntGauge::with_opts(opts("bundle_watchers", "Open WatchBundle streams"))?,
            entries: IntGauge::with_opts(opts("entries", "Registration entries in force"))?,
            entries_rejected: IntGauge::with_opts(opts(
                "entries_rejected",
                "1 while the registration entries on disk are refused and older ones are in force",
            ))?,
            unrecorded: prometheus::IntCounter::with_opts(opts(
                "refusals_unrecorded_total",
                "Refusals that were only logged because there were too many",
            ))?,
        };
        let collectors: [Box<dyn Collector>; 11] = [
            Box::new(metrics.issued.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.latency.clone()),
            Box::new(metrics.root_not_after.clone()),
            Box::new(metrics.intermediate_not_after.clone()),
            Box::new(metrics.connections.clone()),
            Box::new(metrics.handshakes.clone()),
            Box::new(metrics.watchers.clone()),
            Box::new(metrics.entries.clone()),
            Box::new(metrics.entries_rejected.clone()),
            Box::new(metrics.unrecorded.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(metrics)
    }
}
