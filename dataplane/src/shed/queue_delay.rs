//! How long a request may wait: CoDel's idea in the form that suits servers (Maurer, "Fail at Scale", ACM Queue 13:8).
//!
//! A queue that empties now and then absorbs bursts, and a wait of up to `interval` does no harm. A queue that did not empty
//! for a whole `interval` is a standing one: it makes everybody wait and nobody faster, so from then on a wait is worth at
//! most `target`, and who would wait longer is refused at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policies::resilience::Moment;

/// What is known about a queue: when it was last empty.
#[derive(Debug)]
pub struct QueueDelay {
    target: Duration,
    interval: Duration,
    /// In nanoseconds of the clock.
    empty_at: AtomicU64,
}

impl QueueDelay {
    /// A queue that is empty now.
    pub const fn new(target: Duration, interval: Duration, now: Moment) -> Self {
        Self {
            target,
            interval,
            empty_at: AtomicU64::new(now.nanos()),
        }
    }

    /// The queue is empty.
    pub fn is_empty(&self, now: Moment) {
        self.empty_at.fetch_max(now.nanos(), Ordering::Relaxed);
    }

    /// How long a request that comes now may wait.
    pub fn longest_wait(&self, now: Moment) -> Duration {
        let empty_at = Moment::from_nanos(self.empty_at.load(Ordering::Relaxed));
        if now.since(empty_at) > self.interval {
            self.target
        } else {
            self.interval
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_queue_is_one_that_never_empties() {
        let (target, interval) = (Duration::from_millis(5), Duration::from_millis(100));
        let at = |millis| Moment::START.plus(Duration::from_millis(millis));
        let queue = QueueDelay::new(target, interval, at(0));
        for (now, emptied, wait) in [
            (50, false, interval),
            (100, false, interval),
            (101, false, target),
            (500, true, interval),
            (600, false, interval),
            (601, false, target),
        ] {
            if emptied {
                queue.is_empty(at(now));
            }
            assert_eq!(queue.longest_wait(at(now)), wait, "at {now} ms");
        }
        // A late word does not make it older.
        queue.is_empty(at(10));
        assert_eq!(queue.longest_wait(at(600)), interval);
    }
}
