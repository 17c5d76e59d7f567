//! Tokens of a bucket elsewhere, taken in advance: so that few requests wait for whoever counts.

use std::time::Duration;

use super::{Rate, Standing};
use crate::resilience::Moment;

/// For how long tokens are taken in advance, by the demand of late.
const AHEAD: Duration = Duration::from_millis(50);
/// After so long tokens that nobody used are given back.
const KEPT: Duration = Duration::from_millis(200);
/// At most this part of a burst is taken in advance, so that no process hoards what others wait for.
const LARGEST_PART: u32 = 16;
/// Whoever counts is asked about an empty bucket no more often than that, ...
const PACE: Duration = Duration::from_millis(10);
/// ... unless the bucket would overflow meanwhile: so many questions for each time in which it fills.
const QUESTIONS_PER_DEPTH: u32 = 8;
/// An empty bucket is not asked about for at most so long: it may have been reset.
const LONGEST_SHUT: Duration = Duration::from_secs(1);

/// The tokens of one key that this process holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    tokens: u32,
    until: Moment,
    /// Requests are refused without a question.
    shut_until: Moment,
    asking: bool,
    /// Somebody comes back to see whether the tokens were used.
    watched: bool,
    /// Requests since the last question.
    demand: u32,
    asked_at: Moment,
    /// What was asked for last.
    size: u32,
    /// How the bucket stood at the last answer, and when that was.
    last: Option<(Standing, Moment)>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It passes. With a question, tokens are running low: ask, and let nobody wait for it.
    Pass(Standing, Option<Ask>),
    /// It is refused.
    Refuse(Standing),
    /// It waits for this question, which the caller asks.
    Ask(Ask),
    /// It waits for the question that another asks.
    Wait,
}

/// A question to whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// How many tokens to take, as far as there are so many.
    pub want: u32,
    /// How many tokens to put back first.
    pub back: u32,
}

/// What becomes of tokens at hand for which no request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unused {
    /// There are none: nobody needs to look again.
    None,
    /// They are kept for so long; look again then.
    Kept(Duration),
    /// So many are to be put back, and nobody needs to look again.
    Back(u32),
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The question.
    pub ask: Ask,
    /// How many tokens were taken.
    pub granted: u32,
    /// How the bucket stands now.
    pub standing: Standing,
}

impl Lease {
    /// A request comes.
    pub fn take(&mut self, rate: &Rate, now: Moment) -> Step {
        self.demand = self.demand.saturating_add(1);
        if self.tokens > 0 && now < self.until {
            self.tokens -= 1;
            let low = self.tokens <= self.size / 4 && self.size > 1;
            let ask = (low && !self.asking && now >= self.shut_until).then(|| self.ask(rate, now));
            return Step::Pass(self.standing(now), ask);
        }
        if now < self.shut_until {
            return Step::Refuse(self.standing(now));
        }
        if self.asking {
            return Step::Wait;
        }
        Step::Ask(self.ask(rate, now))
    }

    fn ask(&mut self, rate: &Rate, now: Moment) -> Ask {
        let largest = (rate.burst() / LARGEST_PART).max(1);
        let since = now.since(self.asked_at);
        let want = if since < AHEAD {
            // Gone sooner than expected.
            self.size.saturating_mul(2)
        } else {
            // INVARIANT: at most AHEAD of `since` is counted, so the product is no larger than the demand.
            let part = AHEAD.as_secs_f64() / since.as_secs_f64();
            whole(f64::from(self.demand) * part)
        };
        let expired = if now < self.until { 0 } else { self.tokens };
        self.tokens -= expired;
        self.asking = true;
        self.demand = 0;
        self.asked_at = now;
        self.size = want.clamp(1, largest);
        Ask {
            want: self.size,
            back: expired,
        }
    }

    /// A question was answered.
    pub fn settle(&mut self, rate: &Rate, settled: Settled, now: Moment) {
        let Settled {
            ask,
            granted,
            standing,
        } = settled;
        self.asking = false;
        self.tokens = self.tokens.saturating_add(granted);
        self.until = now.plus(KEPT);
        self.last = Some((standing, now));
        if granted < ask.want {
            let pace = PACE.min(rate.depth() / QUESTIONS_PER_DEPTH);
            let shut = standing.retry_after.max(pace).min(LONGEST_SHUT);
            self.shut_until = now.plus(shut);
        }
    }

    /// Puts back a token of a request that did not pass for another reason; it stays at hand.
    pub const fn give_back(&mut self) {
        self.tokens = self.tokens.saturating_add(1);
    }

    /// Whether the caller is to see to [`unused`](Self::unused) tokens from now on: one at a time.
    pub const fn watch(&mut self) -> bool {
        !std::mem::replace(&mut self.watched, true)
    }

    /// What becomes of tokens for which no request comes, so that no process keeps what others wait for.
    pub fn unused(&mut self, now: Moment) -> Unused {
        if self.tokens > 0 && now < self.until {
            return Unused::Kept(self.until.since(now));
        }
        self.watched = false;
        match std::mem::take(&mut self.tokens) {
            0 => Unused::None,
            back => Unused::Back(back),
        }
    }

    /// A question got no answer: what was to be put back is lost, which errs on the safe side.
    pub const fn failed(&mut self) {
        self.asking = false;
    }

    /// Whether forgetting it costs nobody anything.
    pub fn is_idle(&self, now: Moment) -> bool {
        !self.asking && now >= self.shut_until && (self.tokens == 0 || now >= self.until)
    }

    /// How the bucket stands, as far as this process knows.
    fn standing(&self, now: Moment) -> Standing {
        let Some((last, at)) = self.last else {
            return Standing {
                remaining: self.tokens,
                reset: Duration::ZERO,
                retry_after: Duration::ZERO,
            };
        };
        let passed = now.since(at);
        Standing {
            remaining: last.remaining.saturating_add(self.tokens),
            reset: last.reset.saturating_sub(passed),
            retry_after: last
                .retry_after
                .saturating_sub(passed)
                .max(self.shut_until.since(now)),
        }
    }
}

/// A share of requests as a number of tokens, rounded up.
fn whole(tokens: f64) -> u32 {
    // Durations are how the standard library turns a float into an integer without a cast.
    let bounded = tokens.clamp(0.0, f64::from(u32::MAX)).ceil();
    u32::try_from(Duration::from_secs_f64(bounded).as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
