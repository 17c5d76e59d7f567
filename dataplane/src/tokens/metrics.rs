//! What operators see of tokens and keys.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// The numbers of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct TokenMetrics {
    fetches: IntCounterVec,
    fetched_at: IntGaugeVec,
    pub(super) cache_hits: IntCounter,
    pub(super) cache_misses: IntCounter,
    pub(super) refused: IntCounter,
}

impl Default for TokenMetrics {
    #[expect(
        clippy::expect_used,
        reason = "names and labels are constants, and each test that makes this tests them"
    )]
    fn default() -> Self {
        Self::new().expect("names and labels are good")
    }
}

impl TokenMetrics {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            fetches: IntCounterVec::new(
                Opts::new(
                    "portcullis_jwks_fetches_total",
                    "Fetches of key sets, by where they are and by result (success, failure).",
                ),
                &["keys", "result"],
            )?,
            fetched_at: IntGaugeVec::new(
                Opts::new(
                    "portcullis_jwks_fetched_timestamp_seconds",
                    "When a key set was last fetched, in seconds since 1970: its age is time() minus this.",
                ),
                &["keys"],
            )?,
            cache_hits: IntCounter::new(
                "portcullis_jwt_cache_hits_total",
                "Tokens that were known, and cost no signature check.",
            )?,
            cache_misses: IntCounter::new(
                "portcullis_jwt_cache_misses_total",
                "Tokens that were not known.",
            )?,
            refused: IntCounter::new(
                "portcullis_jwt_refused_total",
                "Requests that were refused for their token.",
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.fetches.clone()))?;
        registry.register(Box::new(self.fetched_at.clone()))?;
        registry.register(Box::new(self.cache_hits.clone()))?;
        registry.register(Box::new(self.cache_misses.clone()))?;
        registry.register(Box::new(self.refused.clone()))
    }

    pub(super) fn fetched(&self, keys: &Arc<str>) {
        self.fetches.with_label_values(&[keys, "success"]).inc();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
        self.fetched_at.with_label_values(&[keys]).set(now);
    }

    pub(super) fn failed(&self, keys: &Arc<str>) {
        self.fetches.with_label_values(&[keys, "failure"]).inc();
    }

    /// Keys that no rule needs any more have no age.
    pub(super) fn forget(&self, keys: &Arc<str>) {
        // What was never fetched was never shown.
        drop(self.fetched_at.remove_label_values(&[keys]));
    }
}
