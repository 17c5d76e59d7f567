//! What became of health checks, for metrics.

use prometheus::{IntCounterVec, Opts, Registry};

use super::check::Failure;

/// `portcullis_health_checks_total`.
#[derive(Clone, Debug)]
pub(super) struct CheckMetrics(IntCounterVec);

impl CheckMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let options = Opts::new(
            "portcullis_health_checks_total",
            "Active health checks by what became of them: success, failure or timeout.",
        );
        let counters = IntCounterVec::new(options, &["result"])?;
        registry.register(Box::new(counters.clone()))?;
        Ok(Self(counters))
    }

    /// Counts a check; one that was not made is none.
    pub(super) fn count(&self, result: Result<(), &Failure>) {
        let result = match result {
            Ok(()) => "success",
            Err(Failure::TimedOut) => "timeout",
            Err(Failure::Failed(_)) => "failure",
            Err(Failure::NotMade) => return,
        };
        self.0.with_label_values(&[result]).inc();
    }
}
