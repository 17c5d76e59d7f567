//! Token buckets: one of its own, and many by key in a table that never grows.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rate::{Fill, Rate, Standing};
use crate::resilience::Moment;

/// How many keys share a lock and compete for room.
const WAYS: usize = 8;

/// One bucket. Lock-free.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes a token.
    ///
    /// # Errors
    /// There is none; either way it says how the bucket stands.
    pub(super) fn take(&self, rate: &Rate, now: Moment) -> Result<Standing, Standing> {
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fill| {
                rate.take(Fill::of_ticks(fill), now).map(Fill::ticks)
            });
        match taken {
            Ok(before) => {
                // What this token made of it, whatever others take meanwhile.
                let after = rate.take(Fill::of_ticks(before), now);
                Ok(rate.standing(after.unwrap_or_else(|| Fill::of_ticks(before)), now))
            }
            Err(fill) => Err(rate.standing(Fill::of_ticks(fill), now)),
        }
    }

    /// Puts a token back that nobody used.
    pub(super) fn give_back(&self, rate: &Rate) {
        let mut fill = self.0.load(Ordering::Relaxed);
        while let Err(found) = self.0.compare_exchange_weak(
            fill,
            rate.give_back(Fill::of_ticks(fill)).ticks(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            fill = found;
        }
    }
}

/// Buckets by key, of all limits of a process together.
///
/// Memory is bounded and taken once: where more keys are active than there is room, the bucket that is nearest to being
/// full is forgotten, and with it at most what it would have refilled. A client that is over its limit is far from full, so
/// nobody frees himself by inventing keys. A key is 64 bits of a keyed hash, so nobody finds two that collide.
#[derive(Debug)]
pub struct Buckets {
    sets: Box<[Mutex<[Way; WAYS]>]>,
    hasher: RandomState,
    displaced: AtomicU64,
}

/// One key's bucket; a full bucket says nothing, so it may be anybody's.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    key: u64,
    fill: Fill,
}

impl Buckets {
    /// A table for about `keys` keys (16 bytes each), whose keys are hashed by `hasher`.
    pub fn new(keys: usize, hasher: RandomState) -> Self {
        let sets = keys.div_ceil(WAYS).max(1);
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            hasher,
            displaced: AtomicU64::new(0),
        }
    }

    /// How keys are hashed.
    pub(super) const fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// How many buckets were forgotten before they were full, since the start.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Takes a token of a key's bucket.
    ///
    /// # Errors
    /// There is none; either way it says how the bucket stands.
    pub(super) fn take(&self, key: u64, rate: &Rate, now: Moment) -> Result<Standing, Standing> {
        self.with(key, |way| {
            if way.key != key {
                if !way.fill.is_full(now) {
                    self.displaced.fetch_add(1, Ordering::Relaxed);
                }
                *way = Way {
                    key,
                    fill: Fill::default(),
                };
            }
            match rate.take(way.fill, now) {
                Some(next) => {
                    way.fill = next;
                    Ok(rate.standing(next, now))
                }
                None => Err(rate.standing(way.fill, now)),
            }
        })
    }

    /// Puts a token back that nobody used.
    pub(super) fn give_back(&self, key: u64, rate: &Rate) {
        self.with(key, |way| {
            if way.key == key {
                way.fill = rate.give_back(way.fill);
            }
        });
    }

    /// The key's place, or the one that it would get.
    fn with<R>(&self, key: u64, act: impl FnOnce(&mut Way) -> R) -> R {
        let sets = u64::try_from(self.sets.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(key % sets).unwrap_or(0);
        let Some(set) = self.sets.get(index) else {
            // INVARIANT: the remainder is within the table, which has at least one set.
            return act(&mut Way::default());
        };
        let mut ways = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ways.iter().position(|way| way.key == key);
        let place = known.or_else(|| {
            let nearest = ways.iter().enumerate().min_by_key(|(_, way)| way.fill);
            nearest.map(|(place, _)| place)
        });
        match place.and_then(|place| ways.get_mut(place)) {
            Some(way) => act(way),
            None => act(&mut Way::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::document::rate_limit::TokenBucket;

    fn rate(requests: u32, burst: u32) -> Rate {
        Rate::new(TokenBucket {
            requests,
            interval: Duration::from_secs(1),
            burst,
        })
    }

    #[test]
    fn keys_have_buckets_of_their_own() {
        let buckets = Buckets::new(64, RandomState::new());
        let rate = rate(1, 2);
        for key in [3, 11, 19] {
            assert_eq!(
                buckets.take(key, &rate, Moment::START).unwrap().remaining,
                1
            );
            assert!(buckets.take(key, &rate, Moment::START).is_ok());
            assert!(buckets.take(key, &rate, Moment::START).is_err());
        }
        buckets.give_back(3, &rate);
        assert!(buckets.take(3, &rate, Moment::START).is_ok());
        let later = Moment::START.plus(Duration::from_secs(1));
        assert!(buckets.take(11, &rate, later).is_ok());
        assert_eq!(buckets.displaced(), 0);
    }

    #[test]
    fn invented_keys_free_nobody_who_is_over_his_limit() {
        let buckets = Buckets::new(WAYS, RandomState::new());
        let rate = rate(1, 10);
        while buckets.take(1, &rate, Moment::START).is_ok() {}
        for invented in 100..10_000 {
            assert!(buckets.take(invented, &rate, Moment::START).is_ok());
        }
        assert!(buckets.take(1, &rate, Moment::START).is_err());
        assert!(buckets.displaced() > 9_000);
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let (one, many) = (Bucket::default(), Buckets::new(64, RandomState::new()));
        let rate = rate(1, 1_000);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let both = [
                            one.take(&rate, Moment::START).is_ok(),
                            many.take(7, &rate, Moment::START).is_ok(),
                        ];
                        let both = both.iter().filter(|taken| **taken).count();
                        taken.fetch_add(both.try_into().unwrap(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 2_000);
    }
}
