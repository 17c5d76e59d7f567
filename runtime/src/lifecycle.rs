//! Signals, drain and the count of open connections.

mod connections;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

pub use connections::{ConnectionCount, ConnectionGuard};

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every connection finished in time.
    Clean,
    /// The deadline passed with this many connections open; they are cut.
    Cut {
        /// Connections still open at the deadline.
        open: usize,
    },
}

/// The life of one process: running, draining, gone. Cheap to clone; all clones are one life.
///
/// SIGTERM and SIGINT begin the drain, a second one ends the process at once. SIGHUP asks for a reload. SIGUSR1 is
/// accepted and does nothing yet.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    draining: watch::Sender<bool>,
    reloads: watch::Sender<u64>,
    connections: ConnectionCount,
    drain_timeout: Duration,
}

impl Lifecycle {
    /// Makes a life that no signal touches: for tests and for embedding.
    pub fn new(drain_timeout: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                draining: watch::Sender::new(false),
                reloads: watch::Sender::new(0),
                connections: ConnectionCount::default(),
                drain_timeout,
            }),
        }
    }

    /// Makes a life and gives it the signals of this process. Call inside a tokio runtime.
    pub fn install(drain_timeout: Duration) -> std::io::Result<Self> {
        let life = Self::new(drain_timeout);
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
        };
        tokio::spawn(signals.follow(life.clone()));
        Ok(life)
    }

    /// Follows whether the drain has begun. It never goes back to `false`.
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.inner.draining.subscribe()
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.inner.draining.borrow()
    }

    /// Returns once the drain has begun.
    pub async fn drain_begun(&self) {
        // The sender lives in `self`, so the wait can only end with the value.
        drop(self.draining().wait_for(|draining| *draining).await);
    }

    /// Begins the drain, as SIGTERM does.
    pub fn begin_drain(&self) {
        self.inner
            .draining
            .send_if_modified(|draining| !std::mem::replace(draining, true));
    }

    /// Follows the number of reloads asked for.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.inner.reloads.subscribe()
    }

    /// Asks for a reload, as SIGHUP does.
    pub fn request_reload(&self) {
        self.inner
            .reloads
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The longest time that connections get to finish after the drain began.
    pub fn drain_timeout(&self) -> Duration {
        self.inner.drain_timeout
    }

    /// The open connections of this process.
    pub fn connections(&self) -> &ConnectionCount {
        &self.inner.connections
    }

    /// Counts one more open connection until the guard is dropped.
    pub fn enter(&self) -> ConnectionGuard {
        self.inner.connections.enter()
    }

    /// Waits for the drain to begin and then for the last connection or the deadline.
    pub async fn drained(&self) -> Drained {
        self.drain_begun().await;
        match tokio::time::timeout(self.inner.drain_timeout, self.inner.connections.idle()).await {
            Ok(()) => Drained::Clean,
            Err(_) => match self.inner.connections.open() {
                0 => Drained::Clean,
                open => Drained::Cut { open },
            },
        }
    }
}

/// The signals that this process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    async fn follow(mut self, life: Lifecycle) {
        loop {
            let stop = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "reload requested");
                    life.request_reload();
                    continue;
                }
                // Kept for the hand-over on upgrade; without a handler it would kill the process.
                _ = self.user1.recv() => continue,
            };
            if life.is_draining() {
                tracing::warn!(signal = stop, "second signal, ending at once");
                at_once();
            }
            tracing::info!(
                signal = stop,
                timeout_seconds = life.drain_timeout().as_secs_f64(),
                open = life.connections().open(),
                "drain begins"
            );
            life.begin_drain();
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the second signal means now, without unwinding"
)]
fn at_once() -> ! {
    std::process::exit(130)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drains_clean_when_the_last_connection_ends() {
        let life = Lifecycle::new(Duration::from_secs(30));
        let guard = life.enter();
        let waiting = tokio::spawn({
            let life = life.clone();
            async move { life.drained().await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(
            !waiting.is_finished(),
            "nothing ends before the drain begins"
        );
        life.begin_drain();
        life.begin_drain();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(guard);
        assert_eq!(waiting.await.unwrap(), Drained::Clean);
    }

    #[tokio::test]
    async fn the_deadline_cuts() {
        let life = Lifecycle::new(Duration::from_millis(20));
        let _open = life.enter();
        life.begin_drain();
        assert_eq!(life.drained().await, Drained::Cut { open: 1 });
    }

    #[tokio::test]
    async fn hangup_asks_for_a_reload() {
        let life = Lifecycle::install(Duration::from_secs(1)).unwrap();
        let mut reloads = life.reloads();
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::HUP).unwrap();
        tokio::time::timeout(Duration::from_secs(5), reloads.changed())
            .await
            .unwrap()
            .unwrap();
        assert!(!life.is_draining());
    }
}
