//! [`ClusterConnections`]: the connections of one cluster at this proxy, over all its endpoints, and their limits.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use policies::cluster::PoolSettings;
use serde::Serialize;
use tokio::sync::Notify;

use super::error::{DialError, UpstreamErrorKind};

/// What a cluster's connections are limited by, and how many there are. It lives on from generation to generation, so that
/// a reload neither forgets a connection nor lets one more through.
pub struct ClusterConnections {
    settings: ArcSwap<PoolSettings>,
    open: AtomicUsize,
    pending: AtomicUsize,
    /// Requests in queues of the cluster's pools; they want to hear of a connection that ended.
    pub(super) queued: AtomicUsize,
    /// A connection ended: another one may be opened.
    pub(super) freed: Notify,
    refused: AtomicU64,
    delayed: AtomicU64,
}

/// What a cluster's connections do now, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConnectionsStatus {
    /// Connections open or being opened.
    pub connections: usize,
    /// Requests that wait for a connection.
    pub pending: usize,
    /// Requests and TCP connections refused since the start: as many wait already as `http1MaxPendingRequests` allows, or for
    /// TCP as many are open as `maxConnections` allows.
    pub overflowed: u64,
    /// Requests since the start that had to wait because of `maxConnections`.
    pub delayed: u64,
}

/// A connection that is open or being opened, until dropped.
#[derive(Debug)]
pub(super) struct Slot {
    cluster: Arc<ClusterConnections>,
    /// The connections of the endpoint's pool.
    of_pool: Arc<AtomicUsize>,
}

/// A request that waits for a connection, until dropped.
pub(super) struct Pending(Arc<ClusterConnections>);

static UNLIMITED: LazyLock<Arc<ClusterConnections>> =
    LazyLock::new(|| ClusterConnections::new(PoolSettings::default()));

impl ClusterConnections {
    /// No connections yet.
    pub fn new(settings: PoolSettings) -> Arc<Self> {
        Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            open: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            freed: Notify::new(),
            refused: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        })
    }

    /// Those of targets that are no cluster's, as the sidecar's own application: without limits.
    pub fn unlimited() -> Arc<Self> {
        Arc::clone(&UNLIMITED)
    }

    /// Puts the settings of a new generation in force; connections that are open count on.
    pub fn adopt(&self, settings: &PoolSettings) {
        if **self.settings.load() != *settings {
            self.settings.store(Arc::new(settings.clone()));
            // A higher limit is room for those who wait.
            self.freed.notify_waiters();
        }
    }

    /// The limits in force.
    pub fn settings(&self) -> Arc<PoolSettings> {
        self.settings.load_full()
    }

    /// What they do now.
    pub fn status(&self) -> ConnectionsStatus {
        ConnectionsStatus {
            connections: self.open.load(Ordering::Relaxed),
            pending: self.pending.load(Ordering::Relaxed),
            overflowed: self.refused.load(Ordering::Relaxed),
            delayed: self.delayed.load(Ordering::Relaxed),
        }
    }

    /// A place for one more connection of a pool that has `of_pool`; none if `maxConnections` are open.
    ///
    /// A pool without any connection always gets one, as in Envoy: its requests would otherwise wait for connections to other
    /// endpoints, which cannot serve them.
    pub(super) fn slot(self: &Arc<Self>, of_pool: &Arc<AtomicUsize>) -> Option<Slot> {
        let allowed = limit(self.settings.load().max_connections);
        let alone = of_pool.fetch_add(1, Ordering::AcqRel) == 0;
        let granted = if alone {
            self.open.fetch_add(1, Ordering::AcqRel);
            true
        } else {
            let more = |open: usize| (open < allowed).then_some(open + 1);
            let granted = self
                .open
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
            granted.is_ok()
        };
        if granted {
            return Some(Slot {
                cluster: Arc::clone(self),
                of_pool: Arc::clone(of_pool),
            });
        }
        of_pool.fetch_sub(1, Ordering::AcqRel);
        None
    }

    /// A place for a connection that nobody can wait for; [`UpstreamErrorKind::Overflow`] if `maxConnections` are open.
    pub(super) fn opaque_slot(self: &Arc<Self>) -> Result<Slot, DialError> {
        // Not the first of a pool: there is no queue that would wait for it.
        let of_pool = Arc::new(AtomicUsize::new(1));
        self.slot(&of_pool)
            .ok_or_else(|| self.overflow("as many connections are open as `maxConnections` allows"))
    }

    /// A place among those who wait; [`UpstreamErrorKind::Overflow`] if as many wait as `http1MaxPendingRequests` allows.
    pub(super) fn wait(self: &Arc<Self>) -> Result<Pending, DialError> {
        let allowed = limit(self.settings.load().max_pending);
        let more = |pending: usize| (pending < allowed).then_some(pending + 1);
        let granted = self
            .pending
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        match granted {
            Ok(_) => Ok(Pending(Arc::clone(self))),
            Err(_) => {
                Err(self.overflow("as many requests wait as `http1MaxPendingRequests` allows"))
            }
        }
    }

    /// A request has to wait because of `maxConnections`.
    pub(super) fn delay(&self) {
        self.delayed.fetch_add(1, Ordering::Relaxed);
    }

    fn overflow(&self, cause: &str) -> DialError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        DialError::new(UpstreamErrorKind::Overflow, cause)
    }
}

impl fmt::Debug for ClusterConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of_pool.fetch_sub(1, Ordering::AcqRel);
        self.cluster.open.fetch_sub(1, Ordering::AcqRel);
        self.cluster.freed.notify_one();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::AcqRel);
    }
}

fn limit(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_connections: u32, max_pending: u32) -> Arc<ClusterConnections> {
        ClusterConnections::new(PoolSettings {
            max_connections: Some(max_connections),
            max_pending: Some(max_pending),
            ..PoolSettings::default()
        })
    }

    #[test]
    fn connections_are_limited_over_all_endpoints_but_each_has_one() {
        let cluster = limited(2, 1);
        let (a, b) = (Arc::default(), Arc::default());
        let first = cluster.slot(&a).unwrap();
        let _second = cluster.slot(&a).unwrap();
        assert!(cluster.slot(&a).is_none());
        let other = cluster.slot(&b).unwrap();
        assert!(cluster.slot(&b).is_none());
        assert_eq!(cluster.status().connections, 3);
        drop((first, other));
        assert!(cluster.slot(&a).is_some());
    }

    #[test]
    fn those_who_wait_are_limited() {
        let cluster = limited(1, 1);
        let waiting = cluster.wait().unwrap();
        let error = cluster.wait().err().unwrap();
        assert_eq!(error.kind, UpstreamErrorKind::Overflow);
        drop(waiting);
        assert!(cluster.wait().is_ok());
        assert_eq!(cluster.status().overflowed, 1);
    }

    #[test]
    fn an_opaque_connection_never_waits() {
        let cluster = limited(1, 1);
        let first = cluster.opaque_slot().unwrap();
        let error = cluster.opaque_slot().err().unwrap();
        assert_eq!(error.kind, UpstreamErrorKind::Overflow);
        drop(first);
        assert!(cluster.opaque_slot().is_ok());
    }

    #[test]
    fn new_settings_hold_for_connections_that_are_open() {
        let cluster = limited(2, 1);
        let pool = Arc::default();
        let _both = (cluster.slot(&pool), cluster.slot(&pool));
        cluster.adopt(&PoolSettings {
            max_connections: Some(1),
            ..PoolSettings::default()
        });
        assert!(cluster.slot(&pool).is_none());
        assert_eq!(cluster.status().connections, 2);
    }
}
