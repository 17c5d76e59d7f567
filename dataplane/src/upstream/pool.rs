//! The connections of one target: idle HTTP/1.1 ones, shared HTTP/2 ones, and the dial that is under way.

mod connection;
mod queue;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use parking_lot::Mutex;
use policies::cluster::PoolSettings;

pub(super) use connection::{Hold, Http1, Lease, Permit};
use connection::{Idle, Shared};
use queue::Queue;

use super::client::Inner;
use super::connections::{ClusterConnections, Slot};
use super::dial::{Dialer, Dialled};
use super::error::{DialError, UpstreamErrorKind, exchange_kind, one_line};
use super::target::{Target, Transport, UpstreamProtocol};
use crate::body::{RequestBody, Upload};

/// What the peer turned out to speak.
const UNKNOWN: u8 = 0;
const SPEAKS_HTTP1: u8 = 1;
const SPEAKS_HTTP2: u8 = 2;

/// The head of a response and the connection it came on.
pub(super) struct Sent<B> {
    pub(super) response: Response<Incoming>,
    pub(super) hold: Hold<B>,
}

/// An exchange without a response; `unsent` when nothing was written.
pub(super) struct Failed<B> {
    pub(super) error: DialError,
    pub(super) unsent: Option<Request<Upload<B>>>,
    pub(super) reused: bool,
}

/// The connections of one target.
pub(super) struct Pool<B> {
    dialer: Dialer,
    client: Weak<Inner<B>>,
    speaks: AtomicU8,
    idle: Mutex<Vec<Idle<B>>>,
    shared: Mutex<Vec<Arc<Shared<B>>>>,
    /// Held by the one dial that others wait for; keeps how the last one failed and when.
    dialling: Arc<tokio::sync::Mutex<Option<(Instant, DialError)>>>,
    last_used: AtomicU64,
    epoch: Instant,
    limits: super::client::Limits,
    /// Connections open or being opened.
    open: Arc<AtomicUsize>,
    queue: Queue,
}

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(target: Target, client: &Arc<Inner<B>>) -> Self {
        let speaks = match (&target.transport, target.protocol) {
            (_, UpstreamProtocol::Http2) => SPEAKS_HTTP2,
            (_, UpstreamProtocol::Http1) | (Transport::Plaintext, _) => SPEAKS_HTTP1,
            (Transport::Mesh(_) | Transport::Tls(_), UpstreamProtocol::Auto) => UNKNOWN,
        };
        let queue = Queue::new(Arc::clone(&target.connections));
        let pool = Self {
            dialer: Dialer::new(
                target,
                &client.reader,
                client.limits,
                Arc::clone(&client.counts),
            ),
            client: Arc::downgrade(client),
            speaks: AtomicU8::new(speaks),
            idle: Mutex::default(),
            shared: Mutex::default(),
            dialling: Arc::default(),
            last_used: AtomicU64::new(0),
            epoch: client.epoch,
            limits: client.limits,
            open: Arc::default(),
            queue,
        };
        pool.last_used.store(pool.now(), Ordering::Relaxed);
        pool
    }

    pub(super) fn serves(&self, target: &Target) -> bool {
        self.dialer.target().shares_connections(target)
    }

    pub(super) const fn scheme(&self) -> &'static Scheme {
        match self.dialer.target().transport {
            Transport::Plaintext => &HTTP,
            Transport::Mesh(_) | Transport::Tls(_) => &HTTPS,
        }
    }

    /// A connection for one exchange: a ready one, a share of one, or a new one; opening it takes at most `limit`. Whoever
    /// has to wait for one, also for its opening, is pending.
    pub(super) async fn lease(self: &Arc<Self>, limit: Duration) -> Result<Lease<B>, DialError> {
        self.last_used.store(self.now(), Ordering::Relaxed);
        let generation = self.generation()?;
        let mut first = self.queue.is_empty();
        if first && let Some(lease) = self.ready(generation) {
            return Ok(lease);
        }
        let _pending = self.cluster().wait()?;
        let mut delayed = false;
        loop {
            if first {
                let attempt = self.attempt(limit).await;
                if !matches!(attempt, Ok(None)) {
                    // A dial that failed, too, leaves room to the next.
                    self.queue.next();
                }
                if let Some(lease) = attempt? {
                    return Ok(lease);
                }
            }
            if !delayed {
                self.cluster().delay();
                delayed = true;
            }
            self.queue.turn().await;
            first = true;
        }
    }

    /// A connection that is ready or may be opened; none if there are as many as may be.
    async fn attempt(self: &Arc<Self>, limit: Duration) -> Result<Option<Lease<B>>, DialError> {
        if let Some(lease) = self.ready(self.generation()?) {
            return Ok(Some(lease));
        }
        if self.speaks_http1() {
            return match self.slot() {
                Some(slot) => self.dial(slot, limit).await.map(Some),
                None => Ok(None),
            };
        }
        let arrived = Instant::now();
        let mut last_failure = Arc::clone(&self.dialling).lock_owned().await;
        if let Some(lease) = self.ready(self.generation()?) {
            return Ok(Some(lease));
        }
        if let Some((failed_at, error)) = &*last_failure
            && *failed_at >= arrived
        {
            // It failed while we waited for it: a dial of our own would say the same, only later.
            return Err(error.clone());
        }
        let Some(slot) = self.slot() else {
            return Ok(None);
        };
        if self.speaks_http1() {
            drop(last_failure);
            return self.dial(slot, limit).await.map(Some);
        }
        let pool = Arc::clone(self);
        // A task of its own: the client that happened to come first may go away, the others still wait.
        let dial = tokio::spawn(async move {
            let outcome = pool.dial(slot, limit).await;
            *last_failure = outcome.as_ref().err().map(|e| (Instant::now(), e.clone()));
            outcome
        });
        dial.await
            .unwrap_or_else(|e| Err(DialError::new(UpstreamErrorKind::Connect, e)))
            .map(Some)
    }

    /// A place for one more connection.
    fn slot(&self) -> Option<Slot> {
        let shared = !self.speaks_http1();
        if shared && self.shared.lock().len() >= self.limits.max_shared_per_target {
            return None;
        }
        self.cluster().slot(&self.open)
    }

    /// Sends on a leased connection.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        lease: Lease<B>,
        request: Request<Upload<B>>,
    ) -> Result<Box<Sent<B>>, Box<Failed<B>>> {
        match lease {
            Lease::H1 {
                mut connection,
                reused,
            } => {
                connection.served = connection.served.saturating_add(1);
                match connection.sender.try_send_request(request).await {
                    Ok(response) => {
                        let pool = Arc::clone(self);
                        let hold = Hold::H1 { connection, pool };
                        Ok(Box::new(Sent { response, hold }))
                    }
                    Err(error) => Err(Box::new(failed(error, reused, None))),
                }
            }
            Lease::H2 { permit, reused } => {
                let mut sender = permit.0.sender.clone();
                match sender.try_send_request(request).await {
                    Ok(response) => Ok(Box::new(Sent {
                        response,
                        hold: Hold::H2 { permit },
                    })),
                    Err(error) => Err(Box::new(failed(
                        error,
                        reused,
                        permit.0.driven.ending.get(),
                    ))),
                }
            }
        }
    }

    /// Returns a lease that was not used.
    pub(super) fn give_back(&self, lease: Lease<B>) {
        if let Lease::H1 { connection, .. } = lease {
            self.keep_idle(connection);
        }
    }

    /// Takes an HTTP/1.1 connection back whose exchange is complete.
    pub(super) fn release(self: &Arc<Self>, mut connection: Http1<B>) {
        if connection.sender.is_ready() || self.settings().max_connections.is_none() {
            self.keep_idle(connection);
            return;
        }
        // The connection's task has yet to finish the exchange. Somebody may wait for this very connection, and would
        // find it of no use yet.
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if connection.sender.ready().await.is_ok() {
                pool.keep_idle(connection);
            }
        });
    }

    /// Keeps a connection, if it may serve another exchange, for whoever is next.
    fn keep_idle(&self, connection: Http1<B>) {
        let Some(client) = self.client.upgrade() else {
            return;
        };
        let current = client.generation(&self.dialer.target().transport);
        if connection.sender.is_closed()
            || current != Some(connection.generation)
            || client.is_closed()
            || connection.is_spent(&self.settings())
        {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.limits.max_idle_per_target {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
            drop(idle);
            self.queue.freed.notify_one();
        }
    }

    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        let shared = std::mem::take(&mut *self.shared.lock());
        drop((idle, shared));
    }

    /// Closes what is dead, spent, of an old generation or unused for too long. Whether anything is left.
    pub(super) fn sweep(&self, generation: Option<u64>) -> bool {
        let settings = self.settings();
        let keep = self.keep(&settings);
        let now = self.now();
        let stale = |last: u64| Duration::from_millis(now.saturating_sub(last)) >= keep;
        let mut idle = self.idle.lock();
        let dead: Vec<_> = idle
            .extract_if(.., |idle| {
                idle.connection.sender.is_closed()
                    || Some(idle.connection.generation) != generation
                    || idle.connection.is_spent(&settings)
                    || idle.since.elapsed() >= keep
            })
            .collect();
        let mut left = !idle.is_empty();
        drop(idle);
        drop(dead);
        let mut shared = self.shared.lock();
        let dead: Vec<_> = shared
            .extract_if(.., |c| {
                c.sender.is_closed()
                    || Some(c.generation) != generation
                    || c.is_spent(&settings)
                    || (c.streams.load(Ordering::Acquire) == 0
                        && stale(c.last_used.load(Ordering::Relaxed)))
            })
            .collect();
        left |= !shared.is_empty();
        drop(shared);
        drop(dead);
        left || !self.queue.is_empty() || !stale(self.last_used.load(Ordering::Relaxed))
    }

    /// How long a connection stays open without requests.
    fn keep(&self, settings: &PoolSettings) -> Duration {
        settings.idle_timeout.unwrap_or(self.limits.idle_timeout)
    }

    fn cluster(&self) -> &Arc<ClusterConnections> {
        &self.dialer.target().connections
    }

    fn settings(&self) -> Arc<PoolSettings> {
        self.cluster().settings()
    }

    fn speaks_http1(&self) -> bool {
        self.speaks.load(Ordering::Acquire) == SPEAKS_HTTP1
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.dialer.target().transport
    }

    fn generation(&self) -> Result<u64, DialError> {
        let transport = &self.dialer.target().transport;
        if let Transport::Mesh(expected) = transport
            && expected.ids().is_empty()
        {
            return Err(DialError::new(
                UpstreamErrorKind::Identity,
                "no identity is expected of this endpoint, so none is accepted",
            ));
        }
        self.client
            .upgrade()
            .and_then(|c| c.generation(transport))
            .ok_or_else(|| {
                DialError::new(
                    UpstreamErrorKind::NoIdentity,
                    "waiting for the first certificate",
                )
            })
    }

    /// A connection that is open already.
    fn ready(&self, generation: u64) -> Option<Lease<B>> {
        if self.speaks_http1() {
            self.take_idle(generation)
        } else {
            self.take_share(generation)
        }
    }

    /// The idle connection used last, so that surplus ones age and go.
    fn take_idle(&self, generation: u64) -> Option<Lease<B>> {
        let settings = self.settings();
        let keep = self.keep(&settings);
        let mut dead = Vec::new();
        let mut idle = self.idle.lock();
        let mut at = idle.len();
        let mut found = None;
        while let Some(below) = at.checked_sub(1) {
            at = below;
            let Some(Idle { connection, since }) = idle.get(at) else {
                break;
            };
            if connection.sender.is_closed()
                || connection.generation != generation
                || connection.is_spent(&settings)
                || since.elapsed() >= keep
            {
                dead.push(idle.swap_remove(at));
            } else if connection.sender.is_ready() {
                found = Some(idle.remove(at));
                break;
            }
            // Neither closed nor ready: the connection's task has yet to finish the last exchange.
        }
        drop(idle);
        drop(dead);
        let Idle { connection, .. } = found?;
        Some(Lease::H1 {
            connection,
            reused: true,
        })
    }

    /// A place on the first shared connection that has one, so that surplus ones empty and go.
    fn take_share(&self, generation: u64) -> Option<Lease<B>> {
        let settings = self.settings();
        let ours = match settings.max_concurrent_streams {
            None => self.limits.max_streams_per_connection,
            Some(limit) => usize::try_from(limit)
                .unwrap_or(usize::MAX)
                .min(self.limits.max_streams_per_connection),
        };
        let mut shared = self.shared.lock();
        let dead: Vec<_> = shared
            .extract_if(.., |c| {
                c.sender.is_closed() || c.generation != generation || c.is_spent(&settings)
            })
            .collect();
        let free = shared.iter().find(|c| {
            let peer_allows = c.driven.peer_allows.load(Ordering::Relaxed);
            c.streams.load(Ordering::Acquire) < peer_allows.min(ours)
        });
        let permit = free.map(|c| self.permit(c));
        drop(shared);
        drop(dead);
        Some(Lease::H2 {
            permit: permit?,
            reused: true,
        })
    }

    fn permit(&self, shared: &Arc<Shared<B>>) -> Permit<B> {
        shared.streams.fetch_add(1, Ordering::AcqRel);
        shared.served.fetch_add(1, Ordering::AcqRel);
        shared.last_used.store(self.now(), Ordering::Relaxed);
        Permit(Arc::clone(shared))
    }

    async fn dial(&self, slot: Slot, limit: Duration) -> Result<Lease<B>, DialError> {
        // Read before the handshake: material that changes during it makes the connection old, never too new.
        let generation = self.generation()?;
        match self.dialer.dial(slot, limit).await? {
            Dialled::H1(sender) => {
                self.speaks.store(SPEAKS_HTTP1, Ordering::Release);
                Ok(Lease::H1 {
                    connection: Http1::new(sender, generation),
                    reused: false,
                })
            }
            Dialled::H2(sender, driven) => {
                self.speaks.store(SPEAKS_HTTP2, Ordering::Release);
                let shared = Arc::new(Shared {
                    sender,
                    driven,
                    generation,
                    opened: Instant::now(),
                    served: AtomicU32::new(0),
                    streams: AtomicUsize::new(0),
                    last_used: AtomicU64::new(0),
                    freed: Arc::clone(&self.queue.freed),
                });
                let permit = self.permit(&shared);
                self.shared.lock().push(shared);
                Ok(Lease::H2 {
                    permit,
                    reused: false,
                })
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

static HTTP: Scheme = Scheme::HTTP;
static HTTPS: Scheme = Scheme::HTTPS;

fn failed<B: RequestBody>(
    mut error: TrySendError<Request<Upload<B>>>,
    reused: bool,
    ending: Option<&DialError>,
) -> Failed<B> {
    let unsent = error.take_message();
    let error = error.into_error();
    let error = ending.cloned().unwrap_or_else(|| {
        let kind = match exchange_kind(&error, false) {
            // Nothing was sent and the connection is gone: for the caller it never came about.
            UpstreamErrorKind::Reset if unsent.is_some() => UpstreamErrorKind::Connect,
            kind => kind,
        };
        DialError::new(kind, one_line(&error))
    });
    Failed {
        error,
        unsent,
        reused,
    }
}
