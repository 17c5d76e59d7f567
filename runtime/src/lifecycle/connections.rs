//! Counting open connections without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A count that can be waited on until it is zero. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCount {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    idle: Notify,
}

impl ConnectionCount {
    /// Counts one more until the guard is dropped.
    pub fn enter(&self) -> ConnectionGuard {
        self.shared.open.fetch_add(1, Ordering::AcqRel);
        ConnectionGuard {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The number of open connections now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Returns when no connection is open.
    pub async fn idle(&self) {
        loop {
            let idle = self.shared.idle.notified();
            tokio::pin!(idle);
            // Registered before the count is read: a guard dropped in between wakes us.
            idle.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub struct ConnectionGuard {
    shared: Arc<Shared>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if self.shared.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_waits_for_the_last_guard() {
        let count = ConnectionCount::default();
        count.idle().await;
        let (first, second) = (count.enter(), count.enter());
        assert_eq!(count.open(), 2);
        let waiting = tokio::spawn({
            let count = count.clone();
            async move { count.idle().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}
