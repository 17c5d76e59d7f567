//! Open connections: what each has served, who holds it, and when it has served enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use policies::cluster::PoolSettings;
use tokio::sync::Notify;

use super::Pool;
use crate::upstream::dial::{Driven, H1, H2};

/// An HTTP/1.1 connection, for one exchange at a time.
pub(in crate::upstream) struct Http1<B> {
    pub(in crate::upstream) sender: H1<B>,
    /// The generation of TLS material that it was dialled with.
    pub(super) generation: u64,
    pub(super) opened: Instant,
    /// Exchanges that it has begun.
    pub(super) served: u32,
}

/// An HTTP/1.1 connection without exchange.
pub(super) struct Idle<B> {
    pub(super) connection: Http1<B>,
    pub(super) since: Instant,
}

/// One HTTP/2 connection that many exchanges share.
pub(in crate::upstream) struct Shared<B> {
    pub(super) sender: H2<B>,
    pub(super) driven: Arc<Driven>,
    pub(super) generation: u64,
    pub(super) opened: Instant,
    pub(super) served: AtomicU32,
    pub(super) streams: AtomicUsize,
    /// Milliseconds since the client's epoch.
    pub(super) last_used: AtomicU64,
    /// Of the pool: an exchange ended.
    pub(super) freed: Arc<Notify>,
}

/// One exchange's place on a shared connection; dropping it frees the place.
pub(in crate::upstream) struct Permit<B>(pub(super) Arc<Shared<B>>);

impl<B> Drop for Permit<B> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// A connection for one exchange. `reused`: it has served before, so the peer may have closed it meanwhile.
pub(in crate::upstream) enum Lease<B> {
    H1 { connection: Http1<B>, reused: bool },
    H2 { permit: Permit<B>, reused: bool },
}

/// What an exchange holds on to until its response ends.
pub(in crate::upstream) enum Hold<B> {
    H1 {
        connection: Http1<B>,
        pool: Arc<Pool<B>>,
    },
    H2 {
        permit: Permit<B>,
    },
}

impl<B> Http1<B> {
    pub(super) fn new(sender: H1<B>, generation: u64) -> Self {
        Self {
            sender,
            generation,
            opened: Instant::now(),
            served: 0,
        }
    }

    /// Whether it may begin no further exchange.
    pub(super) fn is_spent(&self, settings: &PoolSettings) -> bool {
        is_spent(settings, self.served, self.opened)
    }
}

impl<B> Shared<B> {
    /// Whether it may begin no further exchange; those under way go on.
    pub(super) fn is_spent(&self, settings: &PoolSettings) -> bool {
        is_spent(settings, self.served.load(Ordering::Acquire), self.opened)
    }
}

fn is_spent(settings: &PoolSettings, served: u32, opened: Instant) -> bool {
    let enough = |limit| served >= limit;
    let old = |limit| opened.elapsed() >= limit;
    settings.max_requests_per_connection.is_some_and(enough)
        || settings.max_connection_duration.is_some_and(old)
}
