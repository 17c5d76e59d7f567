//! How many retries a destination gets, so that they do not become the outage.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Asked;
use crate::document::RetryBudget;

/// Retries that may be under way at once whatever the share says.
const ALWAYS: u64 = 3;
/// What one retry costs, so that a request's share can be a part of it.
const RETRY: i64 = 10_000;
/// The most that is saved up: a hundred retries.
const SAVINGS: i64 = 100 * RETRY;

/// Limits that a document sets; `None` is no limit of that sort.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetryLimits {
    /// `trafficPolicy.retryBudget`: the share of the requests under way that may be retries.
    pub budget: Option<RetryBudget>,
    /// `connectionPool.http.maxRetries`: retries under way at once.
    pub max_retries: Option<u32>,
}

/// The retries of one cluster; its counts are carried from generation to generation.
///
/// Istio's `retryBudget` bounds how many retries are under way at once. Where no document gives one, each request earns
/// a share of a retry instead: 100 % of one where a document asks for retries, so that an outage at most doubles the
/// number of tries, 20 % for the default policy that nobody asked for. Three at once are always allowed. (A share of what is under way
/// could not promise that: a request that waits for its retry is under way as well.)
#[derive(Debug, Default)]
pub struct Budget {
    limits: RetryLimits,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    retries: AtomicU64,
    /// What is saved up, in parts of [`RETRY`].
    credit: AtomicI64,
}

/// What a retry puts upon the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Another request: the one before it arrived.
    Another,
    /// The first: the one before it found no connection. It needs no share.
    First,
}

/// A retry under way, until dropped.
#[derive(Debug)]
pub struct Retrying(Arc<Counts>);

impl Budget {
    /// The budget of a cluster; `previous` is that of the same cluster one generation earlier.
    pub fn new(limits: RetryLimits, previous: Option<&Self>) -> Self {
        Self {
            limits,
            counts: previous.map_or_else(Arc::default, |budget| Arc::clone(&budget.counts)),
        }
    }

    /// A request came: what it earns is saved up.
    pub fn earn(&self, asked: Asked) {
        let credit = &self.counts.credit;
        // A healthy destination's savings are full: nothing is written then.
        if credit.load(Ordering::Relaxed) < SAVINGS {
            credit.fetch_add(earned(asked), Ordering::Relaxed);
        }
    }

    /// Leave for one retry, which counts as under way until its guard is dropped; none when there are too many.
    /// `requests` are under way to the cluster, those that are sent again included.
    pub fn retry(&self, load: Load, requests: u32) -> Option<Retrying> {
        let counts = &self.counts;
        let under_way = counts.retries.fetch_add(1, Ordering::Relaxed);
        let retrying = Retrying(Arc::clone(counts));
        let max = self.limits.max_retries.map_or(u64::MAX, u64::from);
        let allowed = under_way < max
            && match &self.limits.budget {
                Some(budget) => under_way < share_of(budget, requests),
                None => load == Load::First || counts.spend() || under_way < ALWAYS,
            };
        allowed.then_some(retrying)
    }

    /// Retries under way.
    pub fn retries(&self) -> u64 {
        self.counts.retries.load(Ordering::Relaxed)
    }
}

/// How many retries a document's budget allows at once.
fn share_of(budget: &RetryBudget, requests: u32) -> u64 {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a percentage is 0 to 100, and the cast saturates"
    )]
    let share = (f64::from(requests) * budget.percent / 100.0) as u64;
    share.max(u64::from(budget.min_retry_concurrency))
}

/// What a request adds to the savings.
const fn earned(asked: Asked) -> i64 {
    match asked {
        Asked::ByDocument => RETRY,
        Asked::ByDefault => RETRY / 5,
    }
}

impl Counts {
    /// Takes one retry out of the savings, if there is one.
    fn spend(&self) -> bool {
        let take = |credit: i64| (credit >= RETRY).then(|| credit - RETRY);
        self.credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limited(percent: f64, min: u32) -> Budget {
        let limits = RetryLimits {
            budget: Some(RetryBudget {
                percent,
                min_retry_concurrency: min,
            }),
            max_retries: None,
        };
        Budget::new(limits, None)
    }

    /// As many as there is leave for, but not more than a thousand.
    fn all(budget: &Budget, load: Load, requests: u32) -> Vec<Retrying> {
        (0..1_000)
            .map_while(|_| budget.retry(load, requests))
            .collect()
    }

    #[test]
    fn three_at_once_are_always_allowed() {
        let budget = Budget::default();
        let three = all(&budget, Load::Another, 1);
        assert_eq!((three.len(), budget.retries()), (3, 3));
        drop(three);
        assert!(budget.retry(Load::Another, 1).is_some());
    }

    #[test]
    fn what_found_no_connection_needs_no_share() {
        let budget = Budget::default();
        let many = all(&budget, Load::First, 1);
        assert_eq!(many.len(), 1_000);
        assert!(budget.retry(Load::Another, 1).is_none());
    }

    #[test]
    fn a_share_of_what_is_under_way_as_istio_says() {
        for (percent, min, requests, allowed) in [
            (20.0, 3, 50, 10),
            (20.0, 3, 1, 3),
            (20.0, 3, 17, 3),
            (100.0, 0, 7, 7),
            (0.0, 0, 1_000, 0),
            (12.5, 1, 20, 2),
        ] {
            let budget = limited(percent, min);
            assert_eq!(
                all(&budget, Load::First, requests).len(),
                allowed,
                "{percent} of {requests}"
            );
        }
    }

    #[test]
    fn max_retries_bounds_whatever_else_is_allowed() {
        let limits = RetryLimits {
            budget: None,
            max_retries: Some(1),
        };
        let budget = Budget::new(limits, None);
        let one = budget.retry(Load::First, 9).unwrap();
        assert!(budget.retry(Load::First, 9).is_none());
        drop(one);
        assert!(budget.retry(Load::Another, 9).is_some());
    }

    #[test]
    fn counts_outlive_a_generation() {
        let before = Budget::default();
        let _retry = before.retry(Load::Another, 1).unwrap();
        let after = Budget::new(RetryLimits::default(), Some(&before));
        assert_eq!(after.retries(), 1);
    }

    /// In an outage every request wants all of its retries. How many they get, beside the three at once that are always
    /// allowed: here those never end.
    fn outage(asked: Asked, requests: u64, attempts: u32) -> u64 {
        let budget = Budget::default();
        for _ in 0..2_000 {
            budget.earn(asked);
        }
        let _held: Vec<_> = (0..3)
            .map(|_| budget.retry(Load::First, 1).unwrap())
            .collect();
        let mut retries = 0;
        for _ in 0..requests {
            budget.earn(asked);
            for _ in 0..attempts {
                if budget.retry(Load::Another, 1).is_none() {
                    break;
                }
                retries += 1;
            }
        }
        retries
    }

    proptest! {
        /// One retry for each request where a document asks for them, one for five where nobody does; a hundred are saved up.
        #[test]
        fn an_outage_at_most_doubles_the_load(requests in 1_u64..5_000, attempts in 1_u32..20) {
            prop_assert!(outage(Asked::ByDocument, requests, attempts) <= requests + 101);
            prop_assert!(outage(Asked::ByDefault, requests, attempts) <= requests / 5 + 101);
        }

        #[test]
        fn a_document_s_share_is_never_exceeded(
            percent in 0.0..=100.0_f64,
            min in 0_u32..10,
            steps in prop::collection::vec((0_u32..300, 0_usize..5), 1..200),
        ) {
            let budget = limited(percent, min);
            let mut retries = Vec::new();
            for (requests, over) in steps {
                retries.truncate(retries.len().saturating_sub(over));
                if let Some(retry) = budget.retry(Load::Another, requests) {
                    retries.push(retry);
                    let share = (f64::from(requests) * percent / 100.0).max(f64::from(min));
                    prop_assert!(f64::from(u32::try_from(retries.len()).unwrap()) <= share);
                }
            }
        }
    }
}
