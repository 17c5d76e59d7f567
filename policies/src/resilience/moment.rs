//! Time as an argument.

use std::time::Duration;

/// A moment of a monotonic clock: nanoseconds since an epoch that the process chose. Fits an atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The epoch.
    pub const START: Self = Self(0);

    /// The moment that long after the epoch; the clock ends after 584 years.
    pub fn after_start(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment as nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The moment of so many nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long ago `earlier` was; nothing if it is to come.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `later` than this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}
