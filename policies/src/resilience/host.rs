//! What is known about one endpoint: tries under way, errors in a row, and its breaker. Atomics only, so that picks and
//! reports of successes take no lock; what opens and closes the breaker is done under the cluster's own.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::balance::WARM;
use super::{Moment, Reason, Warmup};

const CLOSED: u64 = 0;
/// The trial of a half-open breaker is under way.
const UNDER_WAY: u64 = u64::MAX;
/// How long a pick may keep the trial to itself before the try begins.
const RESERVED: Duration = Duration::from_secs(1);

/// The state of one endpoint's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It gets requests.
    Closed,
    /// It is left alone: its ejection is over; one request at a time may try it.
    HalfOpen,
    /// It is left alone until its ejection is over.
    Open,
}

impl BreakerState {
    /// `closed`, `half-open` or `open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// The live state of one endpoint; carried from generation to generation by its address.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Tries under way.
    active: AtomicU32,
    /// Errors in a row, by [`Counter`].
    errors: [AtomicU32; 3],
    /// [`CLOSED`], or when the ejection is over.
    until: AtomicU64,
    /// 0: the trial is free; [`UNDER_WAY`]; or until when a pick keeps it.
    trial: AtomicU64,
    /// Whether it was noted that the breaker is half-open.
    announced: AtomicBool,
    /// How many ejections are remembered; the next one is that much longer.
    remembered: AtomicU32,
    /// When the breaker closed.
    closed_at: AtomicU64,
    /// Ejections since the process started.
    ejections: AtomicU64,
    /// Why the breaker opened last.
    reason: AtomicU8,
    /// An active health check says that it fails.
    unhealthy: AtomicBool,
    /// Since when it warms up; 0: it is warm.
    warming_since: AtomicU64,
}

/// What is counted in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Server,
    Gateway,
    Local,
}

/// How a pick got its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The breaker is closed.
    Free,
    /// The trial of a half-open breaker is this pick's; `first`: since the ejection was over.
    Trial { first: bool },
    /// Somebody else was faster.
    Lost,
}

impl Host {
    /// An endpoint that has come at a moment.
    pub(super) fn newcomer(now: Moment) -> Self {
        Self {
            warming_since: AtomicU64::new(now.nanos().max(1)),
            ..Self::default()
        }
    }

    pub(super) fn state(&self, now: Moment) -> BreakerState {
        match self.until.load(Ordering::Relaxed) {
            CLOSED => BreakerState::Closed,
            until if until <= now.nanos() => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }

    /// When the ejection is over; none if the breaker is closed.
    pub(super) fn until(&self) -> Option<Moment> {
        let until = self.until.load(Ordering::Relaxed);
        (until != CLOSED).then(|| Moment::from_nanos(until))
    }

    /// Whether it counts as healthy: closed, and no health check says otherwise.
    pub(super) fn is_healthy(&self) -> bool {
        self.until.load(Ordering::Relaxed) == CLOSED && !self.is_unhealthy()
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Ordering::Relaxed)
    }

    /// Whether a request may go there: closed, or half-open with the trial free.
    pub(super) fn is_fit(&self, now: Moment) -> bool {
        !self.is_unhealthy()
            && match self.state(now) {
                BreakerState::Closed => true,
                BreakerState::HalfOpen => self.trial.load(Ordering::Relaxed) <= now.nanos(),
                BreakerState::Open => false,
            }
    }

    /// Takes the trial if the breaker is half-open.
    pub(super) fn claim(&self, now: Moment) -> Claim {
        if self.state(now) != BreakerState::HalfOpen {
            return Claim::Free;
        }
        let kept = self.trial.load(Ordering::Relaxed);
        let reserved = now.plus(RESERVED).nanos();
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        if kept > now.nanos()
            || self
                .trial
                .compare_exchange(kept, reserved, success, failure)
                .is_err()
        {
            return Claim::Lost;
        }
        Claim::Trial {
            first: !self.announced.swap(true, Ordering::Relaxed),
        }
    }

    /// A try begins; whether it is the trial.
    pub(super) fn begin(&self, now: Moment) -> bool {
        self.active.fetch_add(1, Ordering::Relaxed);
        if self.state(now) != BreakerState::HalfOpen {
            return false;
        }
        self.trial.swap(UNDER_WAY, Ordering::AcqRel) != UNDER_WAY
    }

    /// A try is over.
    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// The trial said nothing: the next request may be it.
    pub(super) fn release_trial(&self) {
        self.trial.store(0, Ordering::Release);
    }

    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts an error; how many in a row that makes.
    pub(super) fn count(&self, counter: Counter) -> u32 {
        let before = self.counter(counter).fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1)
    }

    /// A success ends the row.
    pub(super) fn forget(&self, counter: Counter) {
        let count = self.counter(counter);
        // Written only where there is something to write: most requests succeed, and share this line.
        if count.load(Ordering::Relaxed) != 0 {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Errors in a row.
    pub(super) fn errors(&self, counter: Counter) -> u32 {
        self.counter(counter).load(Ordering::Relaxed)
    }

    const fn counter(&self, counter: Counter) -> &AtomicU32 {
        let [server, gateway, local] = &self.errors;
        match counter {
            Counter::Server => server,
            Counter::Gateway => gateway,
            Counter::Local => local,
        }
    }

    fn forget_errors(&self) {
        for counter in [Counter::Server, Counter::Gateway, Counter::Local] {
            self.forget(counter);
        }
    }

    /// Opens the breaker. `time` says how long the ejection of a number takes. Under the cluster's lock.
    pub(super) fn open(
        &self,
        now: Moment,
        interval: Duration,
        time: impl Fn(u32) -> Duration,
        reason: Reason,
    ) -> Moment {
        let remembered = self.remembered(now, interval);
        let next = remembered.saturating_add(1);
        // What makes the ejection no longer is not remembered either, or it would have to be forgotten again.
        let number = if remembered > 0 && time(remembered) == time(next) {
            remembered
        } else {
            next
        };
        let until = now.plus(time(number));
        self.remembered.store(number, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.reason.store(reason.code(), Ordering::Relaxed);
        self.announced.store(false, Ordering::Relaxed);
        self.forget_errors();
        self.trial.store(0, Ordering::Relaxed);
        self.until
            .store(until.nanos().max(CLOSED + 1), Ordering::Release);
        until
    }

    /// Closes the breaker. Under the cluster's lock.
    pub(super) fn close(&self, now: Moment) {
        self.forget_errors();
        self.closed_at.store(now.nanos(), Ordering::Relaxed);
        self.announced.store(false, Ordering::Relaxed);
        self.trial.store(0, Ordering::Relaxed);
        self.until.store(CLOSED, Ordering::Release);
    }

    /// Closes the breaker and forgets its past. Under the cluster's lock.
    pub(super) fn reset(&self, now: Moment) {
        self.close(now);
        self.remembered.store(0, Ordering::Relaxed);
    }

    /// How many ejections are remembered: one is forgotten with every interval that it is closed.
    pub(super) fn remembered(&self, now: Moment, interval: Duration) -> u32 {
        let remembered = self.remembered.load(Ordering::Relaxed);
        if self.state(now) != BreakerState::Closed {
            return remembered;
        }
        let closed_at = Moment::from_nanos(self.closed_at.load(Ordering::Relaxed));
        let healthy = now.since(closed_at).as_nanos();
        let intervals = healthy.checked_div(interval.as_nanos()).unwrap_or(0);
        remembered.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX))
    }

    pub(super) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Why the breaker opened last; none if it never did.
    pub(super) fn reason(&self) -> Option<Reason> {
        Reason::of_code(self.reason.load(Ordering::Relaxed))
    }

    /// What an active health check says; whether that is new.
    pub(super) fn set_health(&self, healthy: bool, now: Moment) -> bool {
        let changed = self.unhealthy.swap(!healthy, Ordering::Relaxed) == healthy;
        if changed && healthy {
            self.warming_since
                .store(now.nanos().max(1), Ordering::Relaxed);
        }
        changed
    }

    /// Its share of the requests while it warms up, in parts of [`WARM`].
    pub(super) fn warmth(&self, now: Moment, warmup: Option<&Warmup>) -> u32 {
        let Some(warmup) = warmup else {
            return WARM;
        };
        let since = self.warming_since.load(Ordering::Relaxed);
        if since == 0 {
            return WARM;
        }
        let age = now.since(Moment::from_nanos(since));
        if age >= warmup.duration {
            self.warming_since.store(0, Ordering::Relaxed);
            return WARM;
        }
        warmth_at(age, warmup)
    }
}

/// Envoy's slow start: `max(minimum, (age / duration) ^ (1 / aggression))`.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between 0 and 1"
)]
fn warmth_at(age: Duration, warmup: &Warmup) -> u32 {
    let part = age.as_secs_f64() / warmup.duration.as_secs_f64();
    let risen = part.powf(1.0 / warmup.aggression);
    let share = risen.max(warmup.minimum_percent / 100.0).clamp(0.0, 1.0);
    (share * f64::from(WARM)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_warms_up() {
        let warmup = Warmup {
            duration: Duration::from_secs(100),
            minimum_percent: 10.0,
            aggression: 1.0,
        };
        let begun = Moment::from_nanos(5);
        let host = Host::newcomer(begun);
        let after = |seconds| host.warmth(begun.plus(Duration::from_secs(seconds)), Some(&warmup));
        assert_eq!(after(0), WARM / 10);
        assert_eq!(after(5), WARM / 10);
        assert_eq!(after(50), WARM / 2);
        assert_eq!(after(100), WARM);
        assert_eq!(after(0), WARM, "once warm it stays warm");
        let steep = Warmup {
            aggression: 2.0,
            ..warmup
        };
        assert_eq!(warmth_at(Duration::from_secs(25), &steep), WARM / 2);
        assert_eq!(Host::default().warmth(begun, Some(&warmup)), WARM);
    }

    #[test]
    fn one_trial_at_a_time() {
        let second = Duration::from_secs(1);
        let host = Host::default();
        let start = Moment::START.plus(second);
        let until = host.open(start, second, |_| second, Reason::Operator);
        assert_eq!(host.state(start), BreakerState::Open);
        assert!(!host.is_fit(start));
        assert_eq!(host.state(until), BreakerState::HalfOpen);
        assert!(host.is_fit(until));
        assert_eq!(host.claim(until), Claim::Trial { first: true });
        assert_eq!(host.claim(until), Claim::Lost);
        assert!(!host.is_fit(until));
        assert!(host.begin(until), "the trial");
        assert!(!host.begin(until), "no second one");
        host.release_trial();
        assert_eq!(host.claim(until), Claim::Trial { first: false });
        // A pick whose try never began does not keep the trial for ever.
        assert_eq!(
            host.claim(until.plus(second)),
            Claim::Trial { first: false }
        );
    }
}
