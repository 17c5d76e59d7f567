//! What became of retries, for metrics.

use prometheus::{IntCounterVec, Opts, Registry};

/// `portcullis_retries_total`.
#[derive(Clone, Debug)]
pub(super) struct RetryMetrics(IntCounterVec);

/// What became of a request's wish to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryResult {
    /// It was sent again.
    Retried,
    /// It was sent again at once, as HTTP allows.
    Replayed,
    /// It was answered well in the end.
    Recovered,
    /// It was sent as often as the policy allows.
    Exhausted,
    /// The destination's retries are used up.
    Budget,
    /// It may have taken effect.
    Effect,
    /// Its body was too long to be kept.
    Body,
    /// There was no time left.
    Deadline,
    /// The endpoint does not want it.
    Refused,
}

impl RetryResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Replayed => "replayed",
            Self::Recovered => "recovered",
            Self::Exhausted => "exhausted",
            Self::Budget => "budget",
            Self::Effect => "effect",
            Self::Body => "body",
            Self::Deadline => "deadline",
            Self::Refused => "refused",
        }
    }
}

impl RetryMetrics {
    pub(super) fn new() -> Self {
        let options = Opts::new(
            "portcullis_retries_total",
            "Requests sent again, and wishes to send one again that were not granted.",
        );
        #[expect(
            clippy::expect_used,
            reason = "the metric's names are constants and well formed"
        )]
        let counters = IntCounterVec::new(options, &["destination_service", "result"])
            .expect("well-formed metric names");
        Self(counters)
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.0.clone()))
    }

    pub(super) fn count(&self, service: &str, result: RetryResult) {
        self.0.with_label_values(&[service, result.as_str()]).inc();
    }

    #[cfg(test)]
    pub(super) fn of(&self, service: &str, result: RetryResult) -> u64 {
        self.0.with_label_values(&[service, result.as_str()]).get()
    }
}
