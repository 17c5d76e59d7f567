//! Who waits for a connection, and who is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::upstream::connections::ClusterConnections;

/// The requests of one pool that wait for a connection, in the order in which they came.
///
/// A connection that is given back wakes the first; one that ends wakes the first of some pool of the cluster, which may
/// then open another. Whoever got what it waited for wakes the next, so that no wake-up is lost when two things come free
/// at once.
pub(super) struct Queue {
    waiting: AtomicUsize,
    /// Of this pool: a connection or a place on one came free.
    pub(super) freed: Arc<Notify>,
    cluster: Arc<ClusterConnections>,
}

/// One that waits, until dropped.
struct Place<'a>(&'a Queue);

impl Queue {
    pub(super) fn new(cluster: Arc<ClusterConnections>) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            freed: Arc::default(),
            cluster,
        }
    }

    /// Whether somebody has to be let go first.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Waits until something came free.
    pub(super) async fn turn(&self) {
        let _place = Place::take(self);
        // The one that is not waited for to the end passes its wake-up on, if it had one.
        tokio::select! {
            () = self.freed.notified() => {}
            () = self.cluster.freed.notified() => {}
        }
    }

    /// Something else may have come free meanwhile.
    pub(super) fn next(&self) {
        if !self.is_empty() {
            self.freed.notify_one();
        }
        if self.cluster.queued.load(Ordering::Acquire) > 0 {
            self.cluster.freed.notify_one();
        }
    }
}

impl<'a> Place<'a> {
    fn take(queue: &'a Queue) -> Self {
        queue.waiting.fetch_add(1, Ordering::AcqRel);
        queue.cluster.queued.fetch_add(1, Ordering::AcqRel);
        Self(queue)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.cluster.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
