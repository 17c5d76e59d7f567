//! A line in the log for every breaker that changes its state.

use std::sync::{Arc, OnceLock};

use policies::cluster::ClusterKey;
use policies::resilience::{BreakerState, Observer, Transition};

/// Writes transitions to the log.
#[derive(Debug)]
struct Log;

impl Observer for Log {
    fn transition(&self, cluster: &ClusterKey, transition: &Transition) {
        let Transition {
            endpoint,
            from,
            to,
            reason,
            at,
            until,
        } = transition;
        let (from, to) = (from.as_str(), to.as_str());
        if transition.to == BreakerState::Open {
            let seconds = until.map(|until| until.since(*at).as_secs_f64());
            tracing::warn!(%cluster, %endpoint, from, to, %reason, seconds, "breaker opened");
        } else {
            tracing::info!(%cluster, %endpoint, from, to, %reason, "breaker changed");
        }
    }
}

/// Who hears of every transition of the process.
pub(crate) fn observer() -> &'static Arc<dyn Observer> {
    static OBSERVER: OnceLock<Arc<dyn Observer>> = OnceLock::new();
    OBSERVER.get_or_init(|| Arc::new(Log))
}
