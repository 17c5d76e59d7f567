//! How often providers are asked, what they say and how long it takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::CheckAnswer;

/// The metrics of one client. Providers are named in documents, so there are few series.
#[derive(Debug)]
pub(super) struct Metrics {
    checks: IntCounterVec,
    seconds: HistogramVec,
    begun: Instant,
    /// When it was last warned about a missing answer, in seconds since `begun`, from 1.
    warned: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the metrics' names are constants and well formed"
        )]
        let (checks, seconds) = build().expect("well-formed metric names");
        Self {
            checks,
            seconds,
            begun: Instant::now(),
            warned: AtomicU64::new(0),
        }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.checks.clone()))?;
        registry.register(Box::new(self.seconds.clone()))
    }

    pub(super) fn observe(&self, provider: &str, answer: &CheckAnswer, took: Duration) {
        let result = match answer {
            CheckAnswer::Allow(allowed) if allowed.failed_open => "failed_open",
            CheckAnswer::Allow(_) => "allowed",
            CheckAnswer::Deny(_) => "denied",
            CheckAnswer::Failed(_) => "error",
        };
        self.checks.with_label_values(&[provider, result]).inc();
        let seconds = self.seconds.with_label_values(&[provider]);
        seconds.observe(took.as_secs_f64());
    }

    /// Whether a warning may be written now: at most one a second, so that an outage does not fill the log.
    pub(super) fn may_warn(&self) -> bool {
        let now = self.begun.elapsed().as_secs() + 1;
        self.warned.swap(now, Ordering::Relaxed) != now
    }
}

fn build() -> Result<(IntCounterVec, HistogramVec), prometheus::Error> {
    let checks = IntCounterVec::new(
        Opts::new(
            "portcullis_ext_authz_checks_total",
            "Questions to external authorizers, by what came of them: allowed, denied, error, failed_open.",
        ),
        &["provider", "result"],
    )?;
    let seconds = HistogramVec::new(
        HistogramOpts::new(
            "portcullis_ext_authz_check_seconds",
            "How long external authorizers take to answer.",
        )
        .buckets(vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
        ]),
        &["provider"],
    )?;
    Ok((checks, seconds))
}
