//! How fast tokens come, and what a bucket's one number says (the generic cell rate algorithm).

use std::time::Duration;

use crate::document::rate_limit::TokenBucket;
use crate::resilience::Moment;

/// Parts of a nanosecond that a [`Fill`] counts in, so that a million tokens a second are still exact.
const TICKS_PER_NANO: u64 = 16;

/// When a bucket will be full again, in ticks since the clock's epoch; in the past, it is full.
///
/// A token bucket needs no more than that: each token that is taken moves it on by the time in which a token comes, and a
/// token may be taken as long as it does not move further ahead than the bucket is deep. 64 bits last for 36 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fill(u64);

impl Fill {
    /// The number to keep in an atomic.
    pub(super) const fn ticks(self) -> u64 {
        self.0
    }

    /// The fill that an atomic kept.
    pub(super) const fn of_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    fn at(now: Moment) -> Self {
        Self(now.nanos().saturating_mul(TICKS_PER_NANO))
    }

    /// Whether the bucket is full.
    pub(super) fn is_full(self, now: Moment) -> bool {
        self <= Self::at(now)
    }
}

/// The numbers of a token bucket, made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// In which time one token comes, in ticks; at least 1.
    every: u64,
    /// What the bucket holds.
    burst: u32,
    /// How many tokens come in an interval, for headers.
    requests: u32,
    /// The interval, for headers.
    interval: Duration,
}

/// How a bucket stands after it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Tokens that are left.
    pub remaining: u32,
    /// Until the bucket is full again.
    pub reset: Duration,
    /// Until there is a token; zero if there is one.
    pub retry_after: Duration,
}

impl Rate {
    /// The rate of a token bucket.
    pub fn new(bucket: TokenBucket) -> Self {
        let TokenBucket {
            requests,
            interval,
            burst,
        } = bucket;
        let ticks = interval.as_nanos() * u128::from(TICKS_PER_NANO);
        let requests_or_one = u128::from(requests.max(1));
        let every = (ticks + requests_or_one / 2) / requests_or_one;
        Self {
            every: u64::try_from(every).unwrap_or(u64::MAX).max(1),
            burst: burst.max(1),
            requests,
            interval,
        }
    }

    /// What a bucket holds.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// How many tokens come in an [`interval`](Self::interval).
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// In which time [`requests`](Self::requests) tokens come.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// In which time one token comes.
    pub const fn every(&self) -> Duration {
        Duration::from_nanos(self.every / TICKS_PER_NANO)
    }

    /// In which time an empty bucket is full.
    pub fn depth(&self) -> Duration {
        span(self.deep())
    }

    fn deep(&self) -> u64 {
        self.every.saturating_mul(u64::from(self.burst))
    }

    /// Takes a token: the bucket's next fill, or none if it has no token.
    pub(super) fn take(&self, fill: Fill, now: Moment) -> Option<Fill> {
        let now = Fill::at(now).0;
        let next = fill.0.max(now).saturating_add(self.every);
        (next - now <= self.deep()).then_some(Fill(next))
    }

    /// Puts a token back.
    pub(super) const fn give_back(&self, fill: Fill) -> Fill {
        Fill(fill.0.saturating_sub(self.every))
    }

    /// How a bucket stands.
    pub(super) fn standing(&self, fill: Fill, now: Moment) -> Standing {
        let now = Fill::at(now).0;
        let ahead = fill.0.saturating_sub(now);
        let left = self.deep().saturating_sub(ahead) / self.every;
        let wait = ahead.saturating_add(self.every).saturating_sub(self.deep());
        Standing {
            remaining: u32::try_from(left).unwrap_or(u32::MAX).min(self.burst),
            reset: span(ahead),
            retry_after: span(wait),
        }
    }
}

/// Ticks as a duration, rounded up: whoever waits for so long finds the token.
const fn span(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.div_ceil(TICKS_PER_NANO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    fn rate(requests: u32, interval: Duration, burst: u32) -> Rate {
        Rate::new(TokenBucket {
            requests,
            interval,
            burst,
        })
    }

    #[test]
    fn a_full_bucket_gives_its_burst_then_a_token_at_a_time() {
        let rate = rate(10, Duration::from_secs(1), 5);
        let mut fill = Fill::default();
        for taken in 1..=5 {
            fill = rate.take(fill, Moment::START).unwrap();
            assert_eq!(rate.standing(fill, Moment::START).remaining, 5 - taken);
        }
        assert_eq!(rate.take(fill, Moment::START), None);
        let standing = rate.standing(fill, Moment::START);
        assert_eq!(standing.retry_after, Duration::from_millis(100));
        assert_eq!(standing.reset, Duration::from_millis(500));
        let later = Moment::START.plus(Duration::from_millis(99));
        assert_eq!(rate.take(fill, later), None);
        let later = Moment::START.plus(Duration::from_millis(100));
        fill = rate.take(fill, later).unwrap();
        assert_eq!(rate.take(fill, later), None);
        assert_eq!(rate.take(rate.give_back(fill), later), Some(fill));
    }

    #[test]
    fn the_clock_may_have_run_for_years() {
        let rate = rate(1, Duration::from_hours(24), 1);
        let years = Moment::START.plus(Duration::from_hours(24 * 365 * 30));
        let fill = rate.take(Fill::default(), years).unwrap();
        assert_eq!(rate.take(fill, years), None);
        assert!(
            rate.take(fill, years.plus(Duration::from_hours(24)))
                .is_some()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

        /// However requests come, no more pass than the bucket holds and what came meanwhile; and whoever always asks
        /// gets all of it, within 2 %.
        #[test]
        fn the_rate_holds(
            requests in 1_u32..2_000_000,
            interval_ms in 50_u64..100_000,
            burst in 1_u32..2_000,
            gaps in proptest::collection::vec(any::<u16>(), 1..400),
        ) {
            let rate = rate(requests, Duration::from_millis(interval_ms), burst);
            let mut fill = Fill::default();
            let mut now = Moment::START;
            let mut passed = 0_u64;
            for gap in gaps {
                now = now.plus(rate.every().mul_f64(f64::from(gap) / 16_384.0));
                while let Some(next) = rate.take(fill, now) {
                    fill = next;
                    passed += 1;
                }
                let came = now.since(Moment::START).as_secs_f64() * f64::from(requests)
                    / Duration::from_millis(interval_ms).as_secs_f64();
                let most = f64::from(burst) + came;
                let passed = f64::from(u32::try_from(passed).unwrap());
                assert!(passed <= most * 1.02 + 1e-6, "{passed} of {most}");
            }
        }
    }

    #[test]
    fn who_always_asks_gets_the_rate() {
        for (requests, interval, burst) in [
            (1_000_000, Duration::from_secs(1), 1_000),
            (3, Duration::from_secs(1), 1),
            (7, Duration::from_mins(1), 7),
            (4_000_000, Duration::from_millis(50), 100_000),
        ] {
            let rate = rate(requests, interval, burst);
            let mut fill = Fill::default();
            let mut passed = 0_u32;
            let step = interval / 1_000;
            for number in 0..1_000 {
                let now = Moment::START.plus(step * number);
                while let Some(next) = rate.take(fill, now) {
                    fill = next;
                    passed += 1;
                }
            }
            let expected = f64::from(requests) * 0.999 + f64::from(burst);
            let off = (f64::from(passed) - expected).abs();
            assert!(off <= expected * 0.02 + 1.0, "{passed} of {expected}");
        }
    }
}
