//! How long a connection of bytes may last, and how long without bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use policies::cluster::PoolSettings;
use tokio::time::{Instant, Sleep};

/// `tcp.idleTimeout` and `tcp.maxConnectionDuration` of one connection.
#[derive(Debug)]
pub(super) struct Bounds {
    idle: Option<Duration>,
    until: Option<Instant>,
    moved: Instant,
    /// Made when somebody waits for bytes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Bounds {
    pub(super) fn new(settings: &PoolSettings) -> Self {
        let now = Instant::now();
        Self {
            idle: settings.tcp_idle_timeout,
            until: settings
                .max_connection_duration
                .and_then(|limit| now.checked_add(limit)),
            moved: now,
            timer: None,
        }
    }

    /// Bytes went one way or the other.
    pub(super) fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// Ready, and why, when the connection's time is over.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let idle = self.idle.and_then(|idle| self.moved.checked_add(idle));
            let Some(end) = idle.into_iter().chain(self.until).min() else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
            if timer.deadline() < end {
                // Reset late, when the old time is over, rather than with every byte.
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                timer.as_mut().reset(end);
                continue;
            }
            return match timer.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    let reason = if self.until == Some(end) {
                        "the connection lasted as long as `maxConnectionDuration` allows"
                    } else {
                        "no bytes for as long as `idleTimeout` allows"
                    };
                    Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, reason))
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn bounds(idle: Option<u64>, duration: Option<u64>) -> Bounds {
        Bounds::new(&PoolSettings {
            tcp_idle_timeout: idle.map(Duration::from_secs),
            max_connection_duration: duration.map(Duration::from_secs),
            ..PoolSettings::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_put_the_end_off_but_not_beyond_the_longest_life() {
        let begun = Instant::now();
        let mut bounds = bounds(Some(10), Some(25));
        for _ in 0..2 {
            let early =
                tokio::time::timeout(Duration::from_secs(8), poll_fn(|cx| bounds.poll_end(cx)));
            assert!(early.await.is_err());
            bounds.moved();
        }
        bounds.moved();
        let end = poll_fn(|cx| bounds.poll_end(cx)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(25));
        assert!(end.to_string().contains("maxConnectionDuration"), "{end}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let begun = Instant::now();
        let mut bounds = bounds(Some(10), None);
        let end = poll_fn(|cx| bounds.poll_end(cx)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        assert!(end.to_string().contains("idleTimeout"), "{end}");
    }
}
