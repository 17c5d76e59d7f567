//! What a connection is doing, so that idle and slow ones can be ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The start of the HTTP/2 preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// The account of one connection. Times are milliseconds since it began, plus one; zero is "not now".
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    in_flight: AtomicU32,
    head_since: AtomicU64,
    quiet_since: AtomicU64,
    /// Frames come at any time on HTTP/2: a byte is no sign of a request.
    http2: AtomicBool,
}

/// What should become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It works, or waits within its rights.
    Alive,
    /// It has had no request for too long.
    Idle,
    /// A request head takes too long.
    Slow,
}

impl Activity {
    pub(crate) fn new(http2: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            in_flight: AtomicU32::new(0),
            head_since: AtomicU64::new(0),
            quiet_since: AtomicU64::new(1),
            http2: AtomicBool::new(http2),
        })
    }

    /// A request's head is complete; it counts until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.head_since.store(0, Ordering::Release);
        InFlight(Arc::clone(self))
    }

    /// Judges the connection.
    pub(crate) fn pulse(&self, header_timeout: Duration, idle_timeout: Duration) -> Pulse {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return Pulse::Alive;
        }
        if self.lasts(&self.head_since, header_timeout) {
            Pulse::Slow
        } else if self.lasts(&self.quiet_since, idle_timeout) {
            Pulse::Idle
        } else {
            Pulse::Alive
        }
    }

    fn lasts(&self, since: &AtomicU64, limit: Duration) -> bool {
        let since = since.load(Ordering::Acquire);
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        since != 0 && self.now().saturating_sub(since) >= limit
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1)
    }

    fn read(&self, bytes: &[u8]) {
        if bytes.is_empty()
            || self.http2.load(Ordering::Relaxed)
            || self.in_flight.load(Ordering::Acquire) > 0
            || self.head_since.load(Ordering::Relaxed) != 0
        {
            return;
        }
        if PREFACE.starts_with(bytes) || bytes.starts_with(PREFACE) {
            self.http2
                .store(bytes.len() >= PREFACE.len(), Ordering::Relaxed);
        }
        if !self.http2.load(Ordering::Relaxed) {
            self.head_since.store(self.now(), Ordering::Release);
        }
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.now(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection whose reads are noticed.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(crate) const fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if read.is_ready() {
            self.activity
                .read(buffer.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_mins(1);

    #[test]
    fn a_slow_head_is_told_from_an_idle_connection() {
        let activity = Activity::new(false);
        assert_eq!(activity.pulse(SOON, LATE), Pulse::Alive);
        activity.read(b"GET / HT");
        std::thread::sleep(SOON * 2);
        assert_eq!(activity.pulse(SOON, LATE), Pulse::Slow);
        let request = activity.enter();
        assert_eq!(activity.pulse(SOON, SOON), Pulse::Alive);
        activity.read(b"body");
        drop(request);
        assert_eq!(activity.pulse(SOON, LATE), Pulse::Alive);
        std::thread::sleep(SOON * 2);
        assert_eq!(activity.pulse(SOON, SOON), Pulse::Idle);
    }

    #[test]
    fn frames_are_no_heads() {
        let activity = Activity::new(false);
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        activity.read(b"ping");
        std::thread::sleep(SOON * 2);
        assert_eq!(activity.pulse(SOON, LATE), Pulse::Alive);
        let crawling = Activity::new(false);
        crawling.read(b"PRI");
        std::thread::sleep(SOON * 2);
        assert_eq!(crawling.pulse(SOON, LATE), Pulse::Slow);
    }
}
