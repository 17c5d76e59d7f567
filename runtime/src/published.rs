//! One value that one task writes and everybody reads without a lock.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

/// The holder of the current generation of a value.
///
/// Readers call [`Self::load`] (one atomic, no lock); whoever wants to wait for a change subscribes.
#[derive(Debug)]
pub struct Published<T> {
    current: ArcSwap<T>,
    moved: watch::Sender<u64>,
}

impl<T> Published<T> {
    /// Publishes `value` as generation zero.
    pub fn new(value: T) -> Self {
        Self {
            current: ArcSwap::from_pointee(value),
            moved: watch::Sender::new(0),
        }
    }

    /// Returns the current value for a short look; do not keep it across an `await`.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Returns the current value to keep.
    pub fn load_full(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Replaces the value and wakes the subscribers.
    pub fn store(&self, value: Arc<T>) {
        self.current.store(value);
        self.moved
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Returns a receiver that counts the stores so far.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_is_seen_and_announced() {
        let published = Published::new(1);
        let mut moved = published.subscribe();
        assert_eq!(**published.load(), 1);
        published.store(Arc::new(2));
        moved.changed().await.unwrap();
        assert_eq!(*moved.borrow(), 1);
        assert_eq!(*published.load_full(), 2);
    }
}
