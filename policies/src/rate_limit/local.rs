//! The limits of one document that this process counts for itself.

use super::limit::Limit;
use super::{Buckets, LimitFacts, Standing};
use crate::document::rate_limit::LimitResponse;
use crate::resilience::Moment;

/// `local`, compiled.
#[derive(Debug)]
pub struct LocalLimits {
    pub(super) limits: Box<[Limit]>,
    pub(super) enabled: Share,
    pub(super) enforced: Share,
    pub(super) per_connection: bool,
    pub(super) response: LimitResponse,
}

/// A share of requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(f64);

impl Share {
    /// Of so many percent.
    pub(super) fn new(percent: f64) -> Self {
        Self(percent / 100.0 * (f64::from(u32::MAX) + 1.0))
    }

    fn takes(self, random: u32) -> bool {
        f64::from(random) < self.0
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub enum Checked<'l> {
    /// No limit is about it.
    Free,
    /// It has its tokens; the limit with the fewest left.
    Within(&'l Limit, Standing),
    /// It is over this limit, and refused. It took no token of any.
    Over(&'l Limit, Standing),
}

impl LocalLimits {
    /// Every limit.
    pub fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.limits.iter()
    }

    /// The answer to a request over a limit.
    pub const fn response(&self) -> &LimitResponse {
        &self.response
    }

    /// Takes a token of every limit that is about the request. `random` decides about the shares of requests that are
    /// looked at and refused.
    pub fn check(
        &self,
        facts: &LimitFacts<'_>,
        buckets: &Buckets,
        now: Moment,
        random: u64,
    ) -> Checked<'_> {
        let (enabled, enforced) = halves(random);
        if !self.enabled.takes(enabled) {
            return Checked::Free;
        }
        let mut tightest: Option<(&Limit, Standing)> = None;
        for (position, limit) in self.limits.iter().enumerate() {
            let standing = match self.take(limit, facts, buckets, now) {
                None => continue,
                Some(Ok(standing)) => {
                    limit.counts.count_within();
                    standing
                }
                Some(Err(standing)) if self.enforced.takes(enforced) => {
                    limit.counts.count_refused();
                    for earlier in self.limits.iter().take(position) {
                        self.give_back(earlier, facts, buckets);
                    }
                    return Checked::Over(limit, standing);
                }
                Some(Err(standing)) => {
                    limit.counts.count_unenforced();
                    standing
                }
            };
            if tightest.is_none_or(|(_, least)| standing.remaining < least.remaining) {
                tightest = Some((limit, standing));
            }
        }
        tightest.map_or(Checked::Free, |(limit, standing)| {
            Checked::Within(limit, standing)
        })
    }

    /// None if the limit is not about the request.
    fn take(
        &self,
        limit: &Limit,
        facts: &LimitFacts<'_>,
        buckets: &Buckets,
        now: Moment,
    ) -> Option<Result<Standing, Standing>> {
        let key = self.key(limit, facts, buckets)?;
        Some(if self.is_one(limit) {
            limit.one.take(&limit.rate, now)
        } else {
            buckets.take(key, &limit.rate, now)
        })
    }

    fn give_back(&self, limit: &Limit, facts: &LimitFacts<'_>, buckets: &Buckets) {
        let Some(key) = self.key(limit, facts, buckets) else {
            return;
        };
        if self.is_one(limit) {
            limit.one.give_back(&limit.rate);
        } else {
            buckets.give_back(key, &limit.rate);
        }
    }

    fn is_one(&self, limit: &Limit) -> bool {
        !self.per_connection && limit.is_one()
    }

    fn key(&self, limit: &Limit, facts: &LimitFacts<'_>, buckets: &Buckets) -> Option<u64> {
        if self.per_connection {
            limit.key_of_connection(facts, buckets.hasher())
        } else {
            limit.key(facts, buckets.hasher())
        }
    }
}

/// Two numbers of one.
fn halves(random: u64) -> (u32, u32) {
    let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (low(random), low(random >> 32))
}
