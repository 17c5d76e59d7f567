//! Time series by a small key: read without a lock, bounded in number.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::IntCounter;

/// The handles of each label set that was seen.
#[derive(Debug)]
pub(super) struct Series<K, H> {
    /// Read without a lock; replaced as a whole when a label set is new.
    known: ArcSwap<HashMap<K, Arc<H>>>,
    editing: Mutex<()>,
    max: usize,
    overflow: IntCounter,
}

impl<K: Copy + Eq + Hash, H> Series<K, H> {
    /// At most `max` label sets; `overflow` counts what comes above it.
    pub(super) fn new(max: usize, overflow: IntCounter) -> Self {
        Self {
            known: ArcSwap::default(),
            editing: Mutex::new(()),
            max,
            overflow,
        }
    }

    /// How often the bound was met.
    #[cfg(test)]
    pub(super) fn overflowed(&self) -> u64 {
        self.overflow.get()
    }

    /// Lets `with` see the handles of `key`. A new key above the bound becomes `coarse`, of which there must be few.
    pub(super) fn with<T>(
        &self,
        key: K,
        coarse: impl FnOnce() -> K,
        handles: impl FnOnce(&K) -> H,
        with: impl FnOnce(&H) -> T,
    ) -> T {
        if let Some(known) = self.known.load().get(&key) {
            return with(known);
        }
        with(&self.first_of(key, coarse, handles))
    }

    fn first_of(
        &self,
        key: K,
        coarse: impl FnOnce() -> K,
        handles: impl FnOnce(&K) -> H,
    ) -> Arc<H> {
        let _editing = self.editing.lock();
        let current = self.known.load();
        if let Some(known) = current.get(&key) {
            return Arc::clone(known);
        }
        let key = if current.len() < self.max {
            key
        } else {
            self.overflow.inc();
            let key = coarse();
            if let Some(known) = current.get(&key) {
                return Arc::clone(known);
            }
            key
        };
        let handles = Arc::new(handles(&key));
        let mut next = HashMap::clone(&current);
        next.insert(key, Arc::clone(&handles));
        self.known.store(Arc::new(next));
        handles
    }
}
