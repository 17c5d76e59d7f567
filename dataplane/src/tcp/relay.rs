//! Bytes both ways until both ends have said everything, or something cuts them off.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::OpaqueStream;
use tokio::io::{
    AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional_with_sizes,
};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::server::TlsStream;

use super::account::Account;

/// What each direction holds at most, in bytes.
const BUFFER: usize = 16 * 1024;
/// How often the metrics learn of the bytes of an open connection (Istio's `reportingInterval`).
const REPORT: Duration = Duration::from_secs(5);

/// A stream that can end so that nobody takes the end for the end of the data.
pub trait Abort {
    /// Makes the end of the connection a reset.
    fn abort(&self);
}

impl Abort for TcpStream {
    fn abort(&self) {
        // Fails only on a socket that is gone already.
        self.set_zero_linger().ok();
    }
}

impl Abort for TlsStream<TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }
}

impl Abort for OpaqueStream {
    fn abort(&self) {
        Self::abort(self);
    }
}

/// How many bytes a connection has carried.
#[derive(Debug, Default)]
pub struct Carried {
    /// From the client.
    pub(super) received: AtomicU64,
    /// From the server.
    pub(super) sent: AtomicU64,
}

impl Carried {
    /// From the client, and from the server.
    pub fn totals(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.received), read(&self.sent))
    }
}

/// How a connection ended.
#[derive(Debug)]
pub enum End<R> {
    /// Both ends said that they are done.
    Complete,
    /// One of them broke.
    Broken(io::Error),
    /// Nobody said anything for too long.
    Idle,
    /// Cut.
    Cut(R),
}

/// Carries bytes until an end, an error, `idle` without a byte, or `cut`; `first` was read from the client already. An
/// end of one direction is passed on, and the other goes on. Unless both ends were heard out, both connections are reset.
pub async fn relay<C, U, R>(
    client: C,
    upstream: U,
    first: &[u8],
    idle: Duration,
    account: &mut Account,
    cut: impl Future<Output = R>,
) -> End<R>
where
    C: AsyncRead + AsyncWrite + Abort + Unpin,
    U: AsyncRead + AsyncWrite + Abort + Unpin,
{
    let carried = account.carried();
    let mut client = Metered::new(client, &carried.received);
    let mut upstream = Metered::new(upstream, &carried.sent);
    let end = {
        let copying = async {
            if !first.is_empty() {
                carried.received.fetch_add(length(first), Ordering::Relaxed);
                upstream.write_all(first).await?;
            }
            copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await
        };
        watched(copying, idle, account, &carried, cut).await
    };
    if !matches!(end, End::Complete) {
        client.inner.abort();
        upstream.inner.abort();
    }
    end
}

async fn watched<R>(
    copying: impl Future<Output = io::Result<(u64, u64)>>,
    idle: Duration,
    account: &mut Account,
    carried: &Carried,
    cut: impl Future<Output = R>,
) -> End<R> {
    tokio::pin!(copying, cut);
    // One timer per connection, coarse: the bound may be passed by half of itself.
    let period = (idle / 2).clamp(Duration::from_millis(10), REPORT);
    let mut tick = tokio::time::interval_at(Instant::now() + period, period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = (carried.totals(), Instant::now());
    loop {
        tokio::select! {
            biased;
            // First: what is refused must not carry one byte more.
            reason = &mut cut => return End::Cut(reason),
            copied = &mut copying => return match copied {
                Ok(_) => End::Complete,
                Err(error) => End::Broken(error),
            },
            _ = tick.tick() => {
                account.report();
                let totals = carried.totals();
                if totals != last.0 {
                    last = (totals, Instant::now());
                } else if last.1.elapsed() >= idle {
                    return End::Idle;
                }
            }
        }
    }
}

/// A stream whose reads are counted.
struct Metered<'a, S> {
    inner: S,
    count: &'a AtomicU64,
}

impl<'a, S> Metered<'a, S> {
    const fn new(inner: S, count: &'a AtomicU64) -> Self {
        Self { inner, count }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.count.fetch_add(length(read), Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
