//! The process's monotonic clock, as the resilience engine counts it.

use std::sync::OnceLock;

use policies::resilience::Moment;
use tokio::time::Instant;

static EPOCH: OnceLock<Instant> = OnceLock::new();

/// The present moment. Under Tokio's paused time it stands still too.
pub fn now() -> Moment {
    moment_of(Instant::now())
}

/// The moment of an instant; instants from before the first look at the clock are its start.
pub fn moment_of(instant: Instant) -> Moment {
    let epoch = *EPOCH.get_or_init(Instant::now);
    Moment::after_start(instant.saturating_duration_since(epoch))
}
