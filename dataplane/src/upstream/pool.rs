//! The connections of one target: idle HTTP/1.1 ones, shared HTTP/2 ones, and the dial that is under way.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use parking_lot::Mutex;

use super::client::Inner;
use super::dial::{Dialer, Dialled, Driven, H1, H2};
use super::error::{DialError, UpstreamErrorKind, exchange_kind, one_line};
use super::target::{Target, Transport, UpstreamProtocol};
use crate::body::{RequestBody, Upload};

/// What the peer turned out to speak.
const UNKNOWN: u8 = 0;
const SPEAKS_HTTP1: u8 = 1;
const SPEAKS_HTTP2: u8 = 2;

/// An idle HTTP/1.1 connection.
struct Idle<B> {
    sender: H1<B>,
    generation: u64,
    since: Instant,
}

/// One HTTP/2 connection that many exchanges share.
pub(super) struct Shared<B> {
    sender: H2<B>,
    driven: Arc<Driven>,
    generation: u64,
    streams: AtomicUsize,
    /// Milliseconds since the client's epoch.
    last_used: AtomicU64,
}

/// One exchange's place on a shared connection; dropping it frees the place.
pub(super) struct Permit<B>(Arc<Shared<B>>);

impl<B> Drop for Permit<B> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection for one exchange. `reused`: it has served before, so the peer may have closed it meanwhile.
pub(super) enum Lease<B> {
    H1 {
        sender: H1<B>,
        generation: u64,
        reused: bool,
    },
    H2 {
        permit: Permit<B>,
        reused: bool,
    },
}

/// What an exchange holds on to until its response ends.
pub(super) enum Hold<B> {
    H1 {
        sender: H1<B>,
        generation: u64,
        pool: Arc<Pool<B>>,
    },
    H2 {
        permit: Permit<B>,
    },
}

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
}

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(target: Target, client: &Arc<Inner<B>>) -> Self {
        let speaks = match (&target.transport, target.protocol) {
            (_, UpstreamProtocol::Http2) => SPEAKS_HTTP2,
            (_, UpstreamProtocol::Http1) | (Transport::Plaintext, _) => SPEAKS_HTTP1,
            (Transport::Mesh(_), UpstreamProtocol::Auto) => UNKNOWN,
        };
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
        };
        pool.last_used.store(pool.now(), Ordering::Relaxed);
        pool
    }

    pub(super) fn serves(&self, target: &Target) -> bool {
        let ours = self.dialer.target();
        ours.protocol == target.protocol
            && ours.transport == target.transport
            && ours.connect_timeout == target.connect_timeout
    }

    pub(super) const fn scheme(&self) -> &'static Scheme {
        match self.dialer.target().transport {
            Transport::Plaintext => &HTTP,
            Transport::Mesh(_) => &HTTPS,
        }
    }

    /// A connection for one exchange: a ready one, a share of one, or a new one.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<B>, DialError> {
        self.last_used.store(self.now(), Ordering::Relaxed);
        let generation = self.generation()?;
        if let Some(lease) = self.ready(generation) {
            return Ok(lease);
        }
        if self.speaks.load(Ordering::Acquire) == SPEAKS_HTTP1 {
            return self.dial().await;
        }
        let arrived = Instant::now();
        let mut last_failure = Arc::clone(&self.dialling).lock_owned().await;
        if let Some(lease) = self.ready(self.generation()?) {
            return Ok(lease);
        }
        if let Some((failed_at, error)) = &*last_failure
            && *failed_at >= arrived
        {
            // It failed while we waited for it: a dial of our own would say the same, only later.
            return Err(error.clone());
        }
        if self.speaks.load(Ordering::Acquire) == SPEAKS_HTTP1 {
            drop(last_failure);
            return self.dial().await;
        }
        let pool = Arc::clone(self);
        // A task of its own: the client that happened to come first may go away, the others still wait.
        let dial = tokio::spawn(async move {
            let outcome = pool.dial().await;
            *last_failure = outcome.as_ref().err().map(|e| (Instant::now(), e.clone()));
            outcome
        });
        dial.await
            .unwrap_or_else(|e| Err(DialError::new(UpstreamErrorKind::Connect, e)))
    }

    /// Sends on a leased connection.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        lease: Lease<B>,
        request: Request<Upload<B>>,
    ) -> Result<Box<Sent<B>>, Box<Failed<B>>> {
        match lease {
            Lease::H1 {
                mut sender,
                generation,
                reused,
            } => match sender.try_send_request(request).await {
                Ok(response) => {
                    let hold = Hold::H1 {
                        sender,
                        generation,
                        pool: Arc::clone(self),
                    };
                    Ok(Box::new(Sent { response, hold }))
                }
                Err(error) => Err(Box::new(failed(error, reused, None))),
            },
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
        if let Lease::H1 {
            sender, generation, ..
        } = lease
        {
            self.release(sender, generation);
        }
    }

    /// Keeps an HTTP/1.1 connection whose exchange is complete.
    pub(super) fn release(&self, sender: H1<B>, generation: u64) {
        let Some(client) = self.client.upgrade() else {
            return;
        };
        let current = client.generation(&self.dialer.target().transport);
        if sender.is_closed() || current != Some(generation) || client.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.limits.max_idle_per_target {
            idle.push(Idle {
                sender,
                generation,
                since: Instant::now(),
            });
        }
    }

    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        let shared = std::mem::take(&mut *self.shared.lock());
        drop((idle, shared));
    }

    /// Closes what is dead, of an old generation or unused for too long. Whether anything is left.
    pub(super) fn sweep(&self, generation: Option<u64>) -> bool {
        let keep = self.limits.idle_timeout;
        let now = self.now();
        let stale = |last: u64| Duration::from_millis(now.saturating_sub(last)) >= keep;
        let mut idle = self.idle.lock();
        let dead: Vec<_> = idle
            .extract_if(.., |c| {
                c.sender.is_closed()
                    || Some(c.generation) != generation
                    || c.since.elapsed() >= keep
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
                    || (c.streams.load(Ordering::Acquire) == 0
                        && stale(c.last_used.load(Ordering::Relaxed)))
            })
            .collect();
        left |= !shared.is_empty();
        drop(shared);
        drop(dead);
        left || !stale(self.last_used.load(Ordering::Relaxed))
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
        if self.speaks.load(Ordering::Acquire) == SPEAKS_HTTP1 {
            self.take_idle(generation)
        } else {
            self.take_share(generation)
        }
    }

    /// The idle connection used last, so that surplus ones age and go.
    fn take_idle(&self, generation: u64) -> Option<Lease<B>> {
        let mut dead = Vec::new();
        let mut idle = self.idle.lock();
        let mut at = idle.len();
        let mut found = None;
        while let Some(below) = at.checked_sub(1) {
            at = below;
            let Some(candidate) = idle.get(at) else { break };
            if candidate.sender.is_closed() || candidate.generation != generation {
                dead.push(idle.swap_remove(at));
            } else if candidate.sender.is_ready() {
                found = Some(idle.remove(at));
                break;
            }
            // Neither closed nor ready: the connection's task has yet to finish the last exchange.
        }
        drop(idle);
        drop(dead);
        let Idle { sender, .. } = found?;
        Some(Lease::H1 {
            sender,
            generation,
            reused: true,
        })
    }

    /// A place on the first shared connection that has one, so that surplus ones empty and go.
    fn take_share(&self, generation: u64) -> Option<Lease<B>> {
        let mut shared = self.shared.lock();
        let dead: Vec<_> = shared
            .extract_if(.., |c| c.sender.is_closed() || c.generation != generation)
            .collect();
        let free = shared.iter().find(|c| {
            let peer_allows = c.driven.peer_allows.load(Ordering::Relaxed);
            c.streams.load(Ordering::Acquire)
                < peer_allows.min(self.limits.max_streams_per_connection)
        });
        let chosen = free.or_else(|| {
            // All full and no more allowed: queue where the queue is shortest.
            let full = shared.len() >= self.limits.max_shared_per_target;
            full.then(|| {
                shared
                    .iter()
                    .min_by_key(|c| c.streams.load(Ordering::Acquire))
            })?
        });
        let permit = chosen.map(|c| self.permit(c));
        drop(shared);
        drop(dead);
        Some(Lease::H2 {
            permit: permit?,
            reused: true,
        })
    }

    fn permit(&self, shared: &Arc<Shared<B>>) -> Permit<B> {
        shared.streams.fetch_add(1, Ordering::AcqRel);
        shared.last_used.store(self.now(), Ordering::Relaxed);
        Permit(Arc::clone(shared))
    }

    async fn dial(&self) -> Result<Lease<B>, DialError> {
        // Read before the handshake: material that changes during it makes the connection old, never too new.
        let generation = self.generation()?;
        match self.dialer.dial().await? {
            Dialled::H1(sender) => {
                self.speaks.store(SPEAKS_HTTP1, Ordering::Release);
                Ok(Lease::H1 {
                    sender,
                    generation,
                    reused: false,
                })
            }
            Dialled::H2(sender, driven) => {
                self.speaks.store(SPEAKS_HTTP2, Ordering::Release);
                let shared = Arc::new(Shared {
                    sender,
                    driven,
                    generation,
                    streams: AtomicUsize::new(0),
                    last_used: AtomicU64::new(0),
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
