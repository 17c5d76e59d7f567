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
    /// It has its tokens; the limit with the fewest left, and what to give back if it does not pass after all.
    Within(&'l Limit, Standing, Took),
    /// It is over this limit, and refused. It took no token of any.
    Over(&'l Limit, Standing),
}

/// Which limits of a document gave a request a token: the first 64 of them. What later ones gave is never given back, which
/// errs on the safe side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took(u64);

impl Took {
    /// The limit at this place did.
    pub fn add(&mut self, position: usize) {
        self.0 |= bit(position);
    }

    /// Whether the limit at this place did.
    pub fn has(self, position: usize) -> bool {
        self.0 & bit(position) != 0
    }
}

fn bit(position: usize) -> u64 {
    let position = u32::try_from(position).unwrap_or(u32::MAX);
    1_u64.checked_shl(position).unwrap_or(0)
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
        let mut took = Took::default();
        for (position, limit) in self.limits.iter().enumerate() {
            let standing = match self.take(limit, facts, buckets, now) {
                None => continue,
                Some(Ok(standing)) => {
                    limit.counts.count_within();
                    took.add(position);
                    standing
                }
                Some(Err(standing)) if self.enforced.takes(enforced) => {
                    limit.counts.count_refused();
                    self.give_back(took, facts, buckets);
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
            Checked::Within(limit, standing, took)
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

    /// Gives the tokens back that a request took which does not pass after all.
    pub fn give_back(&self, took: Took, facts: &LimitFacts<'_>, buckets: &Buckets) {
        for (position, limit) in self.limits.iter().enumerate() {
            if !took.has(position) {
                continue;
            }
            if self.is_one(limit) {
                limit.one.give_back(&limit.rate);
            } else if let Some(key) = self.key(limit, facts, buckets) {
                buckets.give_back(key, &limit.rate);
            }
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
