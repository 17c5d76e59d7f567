//! One request and its tries: what may follow a try that ended, and how long the next one may take.

use std::time::Duration;

use super::{Moment, Repeats, RetryPolicy, TryOutcome};

/// The longest pause that an endpoint may ask for (`Retry-After`) where no deadline bounds it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Whether the work that a request asks for may be done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Twice is as once: an idempotent method (RFC 9110 §9.2.2), or an `Idempotency-Key`.
    Idempotent,
    /// Twice may be one time too many.
    Unknown,
}

impl Effect {
    /// What a method promises; `keyed`: the request bears an `Idempotency-Key`.
    pub fn of(method: &str, keyed: bool) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE" => Self::Idempotent,
            _ if keyed => Self::Idempotent,
            _ => Self::Unknown,
        }
    }
}

/// A try that ended, as far as it matters for the next.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub outcome: TryOutcome,
    /// The connection had served before, so that the endpoint may have closed it before it saw the request.
    pub reused: bool,
    /// The answer bears `x-envoy-ratelimited`.
    pub rate_limited: bool,
    /// What the endpoint says about being asked again.
    pub wish: Wish,
    /// The request can be sent whole once more.
    pub replayable: bool,
}

impl Ended {
    /// A try with this outcome, of a request that can be sent once more.
    pub const fn new(outcome: TryOutcome) -> Self {
        Self {
            outcome,
            reused: false,
            rate_limited: false,
            wish: Wish::Silent,
            replayable: true,
        }
    }
}

/// What an endpoint says about being asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    #[default]
    Silent,
    /// Not before (`Retry-After`, RFC 9110 §10.2.3).
    NotBefore(Duration),
    /// Exactly then (`grpc-retry-pushback-ms`, gRFC A6).
    At(Duration),
    /// Not at all (a `grpc-retry-pushback-ms` that is negative or no number).
    Never,
}

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A retry after this pause, if the [`Budget`](super::Budget) has one left.
    Retry(Duration),
    /// Once more at once, not counted as a retry: nothing was processed, or a connection that had served before broke
    /// under an idempotent request (RFC 9110 §9.2.2, RFC 9113 §8.7).
    Replay,
    /// How it ended is what the caller gets.
    Done(Halt),
}

/// Why a request is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// No condition of the policy asks for it.
    NotAskedFor,
    /// As often as the policy allows.
    Exhausted,
    /// It may have taken effect, and may not take effect twice.
    Effect,
    /// Its body is not kept, being too long.
    Body,
    /// The next try could not begin in time.
    Deadline,
    /// The endpoint does not want it.
    Refused,
}

/// How long a try may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryTime {
    /// `perTryTimeout`, where it ends before the request's deadline.
    pub per_try: Option<Duration>,
    /// What is left of the request's time.
    pub remaining: Option<Duration>,
}

impl TryTime {
    /// The earlier of the two: what the next hop is told.
    pub fn shortest(self) -> Option<Duration> {
        self.per_try.or(self.remaining)
    }
}

/// One request on its way, through all its tries.
#[derive(Debug)]
pub struct Call<'a> {
    policy: &'a RetryPolicy,
    effect: Effect,
    deadline: Option<Moment>,
    tries: u32,
    retries: u32,
    replayed: bool,
}

impl<'a> Call<'a> {
    /// A request that has not been sent yet; `deadline` is for all of its tries together.
    pub const fn new(policy: &'a RetryPolicy, effect: Effect, deadline: Option<Moment>) -> Self {
        Self {
            policy,
            effect,
            deadline,
            tries: 0,
            retries: 0,
            replayed: false,
        }
    }

    /// How often it was sent.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// How many of the tries were retries.
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Begins a try; none when no time is left for it.
    pub fn begin(&mut self, now: Moment) -> Option<TryTime> {
        let remaining = self.deadline.map(|deadline| deadline.since(now));
        if remaining.is_some_and(|left| left.is_zero()) {
            return None;
        }
        self.tries = self.tries.saturating_add(1);
        let in_time = |limit: &Duration| remaining.is_none_or(|left| *limit < left);
        Some(TryTime {
            per_try: self.policy.per_try_timeout.filter(in_time),
            remaining,
        })
    }

    /// What follows a try that ended.
    pub fn ended(&mut self, ended: &Ended, now: Moment, random: u64) -> Next {
        let policy = self.policy;
        if policy.attempts == 0 || !policy.on.hold(ended.outcome, ended.rate_limited) {
            return self.replay(ended, now);
        }
        if !self.may_repeat(ended.outcome) {
            return Next::Done(Halt::Effect);
        }
        if !ended.replayable {
            return Next::Done(Halt::Body);
        }
        if self.retries >= policy.attempts {
            return Next::Done(Halt::Exhausted);
        }
        let backoff = policy.backoff.pause(self.retries.saturating_add(1), random);
        let pause = match ended.wish {
            Wish::Silent => backoff,
            Wish::NotBefore(pause) => pause.max(backoff),
            Wish::At(pause) => pause,
            Wish::Never => return Next::Done(Halt::Refused),
        };
        if !self.has_time_after(pause, now) {
            return Next::Done(Halt::Deadline);
        }
        self.retries += 1;
        Next::Retry(pause)
    }

    /// Once for each request, whatever its policy says: HTTP itself allows it.
    fn replay(&mut self, ended: &Ended, now: Moment) -> Next {
        let unseen = match ended.outcome {
            TryOutcome::Refused => true,
            TryOutcome::Reset { .. } => ended.reused && self.effect == Effect::Idempotent,
            _ => false,
        };
        if !unseen
            || self.replayed
            || !ended.replayable
            || !self.has_time_after(Duration::ZERO, now)
        {
            return Next::Done(Halt::NotAskedFor);
        }
        self.replayed = true;
        Next::Replay
    }

    fn has_time_after(&self, pause: Duration, now: Moment) -> bool {
        match self.deadline {
            Some(deadline) => now.plus(pause) < deadline,
            None => pause <= LONGEST_PAUSE.max(self.policy.backoff.base.saturating_mul(10)),
        }
    }

    /// Whether a try that ended so may be followed by another without doing the work twice.
    fn may_repeat(&self, outcome: TryOutcome) -> bool {
        let unseen = matches!(
            outcome,
            TryOutcome::ConnectFailure | TryOutcome::Refused | TryOutcome::Reset { sent: false }
        );
        unseen
            || self.effect == Effect::Idempotent
            || self.policy.repeats == Repeats::Everything
            || (self.policy.asked == super::Asked::ByDocument && self.policy.on.names_grpc(outcome))
    }
}

#[cfg(test)]
mod tests;
