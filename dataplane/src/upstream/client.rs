//! [`Upstreams`]: finds the pool of a target, sends, replays what was never sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use identity::material::MaterialReader;
use parking_lot::Mutex;
use prometheus::core::{AtomicU64, GenericCounter};
use prometheus::{IntGauge, Registry};

use super::error::UpstreamError;
use super::pool::{Lease, Pool, Sent};
use super::response::UpstreamBody;
use super::target::{Target, Transport};
use super::{UpstreamErrorKind, shape, sweep};
use crate::body::{RequestBody, Upload};

/// How many stale pooled connections one request may meet before it gives up.
const MAX_REPLAYS: usize = 32;

/// Bounds of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Idle HTTP/1.1 connections kept per target; further ones are closed when their exchange ends.
    pub max_idle_per_target: usize,
    /// How long an unused connection stays open.
    pub idle_timeout: Duration,
    /// Streams on one HTTP/2 connection, when the peer allows more.
    pub max_streams_per_connection: usize,
    /// HTTP/2 connections per target; above it requests wait until one has a place.
    pub max_shared_per_target: usize,
    /// How often a busy HTTP/2 connection is pinged (RFC 9113 §6.7).
    pub ping_interval: Duration,
    /// How long a ping may stay unanswered before the connection counts as dead.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_idle_per_target: 512,
            idle_timeout: Duration::from_mins(1),
            max_streams_per_connection: 1024,
            max_shared_per_target: 64,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
        }
    }
}

/// Running totals of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Connections dialled, including failed ones.
    pub dials: u64,
    /// Dials that failed.
    pub dial_failures: u64,
    /// Connections open now.
    pub open: usize,
    /// Requests sent again because a pooled connection had died before anything was sent on it.
    pub replays: u64,
}

/// The totals themselves: Prometheus metrics are plain atomics.
#[derive(Debug)]
pub(super) struct Counts {
    dials: GenericCounter<AtomicU64>,
    dial_failures: GenericCounter<AtomicU64>,
    replays: GenericCounter<AtomicU64>,
    open: IntGauge,
}

impl Counts {
    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            dials: GenericCounter::new(
                "portcullis_upstream_dials_total",
                "Upstream connections dialled, including failed ones.",
            )?,
            dial_failures: GenericCounter::new(
                "portcullis_upstream_dial_failures_total",
                "Upstream connections that could not be opened.",
            )?,
            replays: GenericCounter::new(
                "portcullis_upstream_replays_total",
                "Requests sent again because a pooled connection had died before they were sent.",
            )?,
            open: IntGauge::new(
                "portcullis_upstream_connections",
                "Open upstream connections.",
            )?,
        })
    }

    pub(super) fn dialled(&self) {
        self.dials.inc();
    }

    pub(super) fn dial_failed(&self) {
        self.dial_failures.inc();
    }

    pub(super) fn opened(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }
}

/// Counts one connection as open until it is dropped.
pub(super) struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

pub(super) type Pools<B> = HashMap<SocketAddr, Vec<Arc<Pool<B>>>>;

/// What the client and its sweeper share.
pub(super) struct Inner<B> {
    pub(super) reader: MaterialReader,
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    /// Read without a lock by every request; replaced as a whole when a target comes or goes.
    pub(super) pools: ArcSwap<Pools<B>>,
    /// Held while `pools` is replaced.
    pub(super) editing: Mutex<()>,
    sweeping: OnceLock<()>,
    pub(super) epoch: Instant,
    closed: AtomicBool,
}

/// The upstream client, generic over the request body; cheap to clone.
pub struct Upstreams<B>(Arc<Inner<B>>);

impl<B> Clone for Upstreams<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> std::fmt::Debug for Upstreams<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstreams")
            .field("targets", &self.0.pools.load().len())
            .finish()
    }
}

impl<B: RequestBody> Upstreams<B> {
    /// A client that proves this workload's identity with the material of `reader`.
    ///
    /// Needs no runtime yet; [`Self::send`] must run inside a Tokio runtime with time and I/O.
    pub fn new(reader: MaterialReader, limits: Limits) -> Self {
        Self(Arc::new(Inner {
            reader,
            limits,
            counts: Arc::new(counts()),
            pools: ArcSwap::default(),
            editing: Mutex::new(()),
            sweeping: OnceLock::new(),
            epoch: Instant::now(),
            closed: AtomicBool::new(false),
        }))
    }

    /// A client for other bodies with the same identity and bounds, and connections of its own. Both count together.
    pub fn beside<C: RequestBody>(&self) -> Upstreams<C> {
        let Inner {
            reader,
            limits,
            counts,
            ..
        } = &*self.0;
        Upstreams(Arc::new(Inner {
            reader: reader.clone(),
            limits: *limits,
            counts: Arc::clone(counts),
            pools: ArcSwap::default(),
            editing: Mutex::new(()),
            sweeping: OnceLock::new(),
            epoch: Instant::now(),
            closed: AtomicBool::new(false),
        }))
    }

    /// Running totals, for metrics and tests.
    pub fn counts(&self) -> UpstreamCounts {
        let counts = &self.0.counts;
        UpstreamCounts {
            dials: counts.dials.get(),
            dial_failures: counts.dial_failures.get(),
            open: usize::try_from(counts.open.get()).unwrap_or_default(),
            replays: counts.replays.get(),
        }
    }

    /// Shows the totals as `portcullis_upstream_*`.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let counts = &self.0.counts;
        registry.register(Box::new(counts.dials.clone()))?;
        registry.register(Box::new(counts.dial_failures.clone()))?;
        registry.register(Box::new(counts.replays.clone()))?;
        registry.register(Box::new(counts.open.clone()))
    }

    /// Closes idle connections now and keeps none any more: the process drains.
    pub fn close_idle(&self) {
        self.0.closed.store(true, Ordering::Release);
        let _editing = self.0.editing.lock();
        for pool in self.0.pools.load().values().flatten() {
            pool.close_idle();
        }
    }

    /// Sends `request` to `target` and waits for the head of the response.
    ///
    /// The request's URI may be in origin form with a Host header or absolute; it is brought into the form
    /// that the connection's protocol wants. Hop-by-hop headers are the caller's work ([`crate::headers`]).
    /// For an upgrade use [`Target::http1`]; `hyper::upgrade::on` takes the 101 response.
    /// There is no deadline but the connect timeout: drop the future to give up.
    ///
    /// # Errors
    /// [`UpstreamError`], with the request when nothing of it was sent.
    // Declared `Send` here: left to be inferred by callers, it fails for bodies with boxed errors
    // (rust-lang/rust#64552).
    pub fn send(
        &self,
        target: &Target,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<UpstreamBody<B>>, UpstreamError<B>>> + Send {
        self.replay(target, request)
    }

    async fn replay(
        &self,
        target: &Target,
        request: Request<B>,
    ) -> Result<Response<UpstreamBody<B>>, UpstreamError<B>> {
        let pool = self.pool(target);
        let mut request = request.map(Upload::new);
        let upload = request.body().state().cloned();
        let mut replays = 0;
        loop {
            let lease = match pool.lease(target.connect_timeout).await {
                Ok(lease) => lease,
                Err(error) => {
                    return Err(error.into_error(Some(request.map(Upload::into_inner))));
                }
            };
            let shaped = match &lease {
                Lease::H1 { .. } => shape::for_http1(&mut request),
                Lease::H2 { .. } => shape::for_http2(&mut request, pool.scheme()),
            };
            if let Err(error) = shaped {
                pool.give_back(lease);
                return Err(UpstreamError::new(
                    UpstreamErrorKind::Request,
                    error.to_string(),
                ));
            }
            match pool.exchange(lease, request).await {
                Ok(sent) => {
                    let Sent { response, hold } = *sent;
                    // After 101 the connection belongs to the upgrade and never returns to the pool.
                    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                    let hold = (!upgraded).then_some(hold);
                    return Ok(response.map(|incoming| UpstreamBody::new(incoming, hold, upload)));
                }
                Err(failed) => {
                    let failed = *failed;
                    let Some(mut unsent) = failed.unsent else {
                        let upload_failed = upload.as_ref().is_some_and(|u| u.failed());
                        return Err(if upload_failed {
                            UpstreamError::new(UpstreamErrorKind::Upload, failed.error.cause)
                        } else {
                            let mut error = failed.error.into_error(None);
                            error.reused = failed.reused;
                            error
                        });
                    };
                    shape::restore_host(&mut unsent);
                    if !failed.reused || replays == MAX_REPLAYS {
                        return Err(failed
                            .error
                            .into_error(Some(unsent.map(Upload::into_inner))));
                    }
                    replays += 1;
                    self.0.counts.replays.inc();
                    request = unsent;
                }
            }
        }
    }

    pub(super) fn material(&self) -> &MaterialReader {
        &self.0.reader
    }

    pub(super) fn counters(&self) -> &Counts {
        &self.0.counts
    }

    fn pool(&self, target: &Target) -> Arc<Pool<B>> {
        self.0.sweeping.get_or_init(|| sweep::start(&self.0));
        let found = |pools: &Pools<B>| {
            let pool = pools
                .get(&target.address)?
                .iter()
                .find(|p| p.serves(target))?;
            Some(Arc::clone(pool))
        };
        if let Some(pool) = found(&self.0.pools.load()) {
            return pool;
        }
        let _editing = self.0.editing.lock();
        let current = self.0.pools.load();
        if let Some(pool) = found(&current) {
            return pool;
        }
        let pool = Arc::new(Pool::new(target.clone(), &self.0));
        let mut pools = Pools::clone(&current);
        pools
            .entry(target.address)
            .or_default()
            .push(Arc::clone(&pool));
        self.0.pools.store(Arc::new(pools));
        pool
    }
}

fn counts() -> Counts {
    #[expect(
        clippy::expect_used,
        reason = "the metrics' names are constants and well formed"
    )]
    Counts::new().expect("well-formed metric names")
}

impl<B> Inner<B> {
    /// The generation that connections of `transport` must have now; `None` while there is no identity.
    pub(super) fn generation(&self, transport: &Transport) -> Option<u64> {
        match transport {
            Transport::Plaintext => Some(0),
            Transport::Mesh(_) => Some(self.reader.generation()).filter(|g| *g != 0),
            Transport::Tls(origination) => Some(origination.generation()),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
