//! The last decisions, and the policies by which they were made.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::DecisionId;
use super::entry::{Entry, Generation};
use crate::snapshot::Snapshot;

/// So many generations of policies are kept for explanations.
const GENERATIONS: usize = 8;

/// A bounded memory. A lock is held for a push, a search or a copy of pointers; only decisions that are remembered come
/// here.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: Mutex<VecDeque<Arc<Entry>>>,
    generations: Mutex<VecDeque<Arc<Generation>>>,
    capacity: usize,
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The policies of a snapshot, kept as long as they are among the newest.
    pub(super) fn generation(&self, snapshot: &Snapshot) -> Arc<Generation> {
        let mut kept = self.generations.lock();
        // By the policies themselves: a number alone could be another store's.
        let known = |one: &&Arc<Generation>| Arc::ptr_eq(&one.authz, &snapshot.authz);
        if let Some(found) = kept.iter().rev().find(known) {
            return Arc::clone(found);
        }
        let new = Arc::new(Generation {
            number: snapshot.generation,
            authz: Arc::clone(&snapshot.authz),
            named: snapshot.authz.named(),
        });
        if kept.len() >= GENERATIONS {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&new));
        new
    }

    /// Remembers a decision in the place of the oldest.
    pub(super) fn push(&self, entry: Arc<Entry>) {
        if self.capacity == 0 {
            return;
        }
        let mut entries = self.entries.lock();
        let oldest = (entries.len() >= self.capacity)
            .then(|| entries.pop_front())
            .flatten();
        entries.push_back(entry);
        drop(entries);
        // Freed without the lock.
        drop(oldest);
    }

    /// The decision of this number, if it is still remembered.
    pub(super) fn find(&self, id: DecisionId) -> Option<Arc<Entry>> {
        let entries = self.entries.lock();
        entries.iter().rev().find(|entry| entry.id == id).cloned()
    }

    /// Every decision, the newest first.
    pub(super) fn newest_first(&self) -> Vec<Arc<Entry>> {
        self.entries.lock().iter().rev().cloned().collect()
    }
}
