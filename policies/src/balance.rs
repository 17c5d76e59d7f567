//! Round robin: the live state of one cluster's load balancing.

use std::sync::atomic::{AtomicU64, Ordering};

/// A position that many requests advance without a lock; carried from generation to generation by cluster key.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicU64);

impl RoundRobin {
    /// A balancer that begins at the first slot.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The next of `n` slots; 0 if there are none. Any `n` consecutive picks name every slot once.
    pub fn pick(&self, n: usize) -> usize {
        let Ok(slots) = u64::try_from(n) else {
            return 0;
        };
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(slots)
            .and_then(|slot| usize::try_from(slot).ok())
            .unwrap_or(0)
    }
}
