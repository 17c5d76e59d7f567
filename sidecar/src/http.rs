//! Drives the HTTP side of one accepted connection to its end, within its deadlines.

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use runtime::lifecycle::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior};

use crate::activity::{Activity, InFlight, Pulse, Watched};
use crate::answer::{self, AnswerBody};
use crate::config::{Limits, Timeouts};
use crate::proxy::RequestBody;

/// Streams of one connection at a time.
const STREAMS: u32 = 1000;
/// What one stream may send ahead, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What all streams of a connection may send ahead together, in bytes.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of a response waits for a slow client, per stream, in bytes.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that a proved peer may make us reset over the life of one connection. A gateway's connection carries the
/// requests of many strangers: hyper's 1024 would let one of them end it for all, unbounded would let a broken peer
/// burn our time (RUSTSEC-2024-0003).
const PROVED_PEER_RESETS: usize = 1024 * 1024;
/// How often a busy HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Which version of HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Known by the first bytes.
    Either,
    /// HTTP/1.
    One,
    /// HTTP/2.
    Two,
}

/// The HTTP servers of a listener, configured once.
#[derive(Debug)]
pub(crate) struct HttpServer {
    either: auto::Builder<TokioExecutor>,
    one: auto::Builder<TokioExecutor>,
    two: auto::Builder<TokioExecutor>,
    timeouts: Timeouts,
    life: Lifecycle,
}

impl HttpServer {
    pub(crate) fn new(limits: &Limits, timeouts: Timeouts, life: Lifecycle) -> Self {
        // Only mTLS chooses its version by ALPN, so this one serves proved peers.
        let mut two = builder(limits).http2_only();
        two.http2()
            .max_local_error_reset_streams(PROVED_PEER_RESETS);
        Self {
            either: builder(limits),
            one: builder(limits).http1_only(),
            two,
            timeouts,
            life,
        }
    }

    /// Serves `io` until the client, a deadline or the drain ends it.
    pub(crate) async fn serve<S, A, R>(&self, io: S, speaks: Speaks, answer: A)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Fn(Request<RequestBody>, InFlight) -> R + Send + Sync + 'static,
        R: Future<Output = Response<AnswerBody>> + Send + 'static,
    {
        let activity = Activity::new(speaks == Speaks::Two);
        let io = TokioIo::new(Watched::new(io, Arc::clone(&activity)));
        let entered = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let answered = answer(request.map(RequestBody::new), entered.enter());
            async move { answer::or_reset(answered.await) }
        });
        let builder = match speaks {
            Speaks::Either => &self.either,
            Speaks::One => &self.one,
            Speaks::Two => &self.two,
        };
        let connection = builder.serve_connection_with_upgrades(io, service);
        tokio::pin!(connection);
        let Timeouts {
            request_head, idle, ..
        } = self.timeouts;
        // One timer per connection, coarse: a deadline may be passed by half of itself.
        let period = request_head.min(idle) / 2;
        let period = period.max(Duration::from_millis(10));
        let mut tick = tokio::time::interval_at(Instant::now() + period, period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let draining = self.life.drain_begun();
        tokio::pin!(draining);
        let mut ending = false;
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = &mut draining, if !told => {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => match activity.pulse(request_head, idle) {
                    Pulse::Alive => {}
                    Pulse::Slow => {
                        tracing::debug!("connection closed: a request head took too long");
                        return;
                    }
                    // HTTP/2 gets its GOAWAY and half a deadline to take note of it.
                    Pulse::Idle if ending => return,
                    Pulse::Idle => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                },
            }
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Also runs between requests, where waiting is nobody's fault: `Activity` tells the two apart.
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}
