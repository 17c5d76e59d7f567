//! What is known of one name.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::ResolveError;

/// A good answer.
#[derive(Debug)]
pub(super) struct Answer {
    at: Instant,
    /// As long as it holds.
    pub(super) until: Instant,
    /// In the order of the answer; never empty.
    pub(super) addresses: Arc<[IpAddr]>,
}

impl Answer {
    pub(super) fn new(addresses: Arc<[IpAddr]>, holds: Duration) -> Self {
        let at = Instant::now();
        Self {
            at,
            until: at + holds,
            addresses,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub(super) fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// Whatever their order: name servers rotate their answers.
    pub(super) fn has_same_addresses(&self, other: &Self) -> bool {
        let sorted = |answer: &Self| {
            let mut addresses = answer.addresses.to_vec();
            addresses.sort_unstable();
            addresses
        };
        sorted(self) == sorted(other)
    }
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    error: ResolveError,
}

/// What is known of one name.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// The last good answer; kept when later look-ups fail.
    pub(super) answer: ArcSwapOption<Answer>,
    failure: ArcSwapOption<Failure>,
    refreshing: AtomicBool,
    /// One look-up at a time for those who must wait.
    pub(super) lookup: tokio::sync::Mutex<()>,
}

impl Name {
    /// Whether the caller is the one to ask again.
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Release);
    }

    pub(super) fn failed(&self, error: ResolveError) {
        let at = Instant::now();
        self.failure.store(Some(Arc::new(Failure { at, error })));
    }

    /// The last failure, if it is not older than that.
    pub(super) fn failed_within(&self, time: Duration) -> Option<ResolveError> {
        let failure = self.failure.load();
        let failure = failure.as_ref()?;
        (failure.at.elapsed() < time).then(|| failure.error.clone())
    }
}
