//! How long a client may take over what it is doing: a request head, or nothing at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::TimeoutsConfig;

/// What a connection is waiting for from its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is under way; the connection may be closed without a word.
    Idle,
    /// A request head has begun and must be complete in time.
    Head,
    /// A request is being served; its own deadlines hold.
    Busy,
}

/// The deadlines of a client connection (`timeouts` in the configuration).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// From accept to the end of the TLS handshake, or to the first byte in plain text.
    pub(crate) handshake: Duration,
    /// From the first byte of a request head to its last.
    pub(crate) request_head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// Between two reads or writes of one request's or response's body.
    pub(crate) stream_idle: Duration,
}

impl From<TimeoutsConfig> for Timeouts {
    fn from(config: TimeoutsConfig) -> Self {
        Self {
            handshake: config.handshake,
            request_head: config.request_head,
            idle: config.idle,
            stream_idle: config.stream_idle,
        }
    }
}

/// The phase of one connection and when it must be over; shared by the stream, which keeps the
/// deadline, and the driver, which knows what the connection is doing.
#[derive(Debug)]
pub(crate) struct Pace {
    started: Instant,
    timeouts: Timeouts,
    /// Milliseconds from `started` to the deadline, shifted left by two, and the phase.
    state: AtomicU64,
}

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;

impl Pace {
    /// A connection that has just been accepted and owes a request head at once.
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        let pace = Self {
            started: Instant::now(),
            timeouts,
            state: AtomicU64::new(BUSY),
        };
        pace.head();
        pace
    }

    /// The phase and its deadline, which means nothing while [`Phase::Busy`].
    pub(crate) fn now(&self) -> (Phase, Instant) {
        let state = self.state.load(Ordering::Acquire);
        let phase = match state & 3 {
            IDLE => Phase::Idle,
            HEAD => Phase::Head,
            _ => Phase::Busy,
        };
        (phase, self.started + Duration::from_millis(state >> 2))
    }

    /// The current phase.
    pub(crate) fn phase(&self) -> Phase {
        self.now().0
    }

    /// The connection waits for its next request.
    pub(crate) fn idle(&self) {
        self.set(IDLE, self.timeouts.idle);
    }

    /// A request head has begun.
    pub(crate) fn head(&self) {
        self.set(HEAD, self.timeouts.request_head);
    }

    /// A complete request head has arrived.
    pub(crate) fn busy(&self) {
        self.state.store(BUSY, Ordering::Release);
    }

    /// The deadlines this connection lives by.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn set(&self, phase: u64, within: Duration) {
        let deadline = self.started.elapsed().saturating_add(within).as_millis();
        let millis = u64::try_from(deadline).unwrap_or(u64::MAX >> 2);
        self.state.store((millis << 2) | phase, Ordering::Release);
    }
}
