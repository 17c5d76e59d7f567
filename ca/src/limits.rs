//! How often one caller may ask: a bucket of tokens each, and a bound on the number of buckets.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use parking_lot::Mutex;

/// Buckets that are remembered at once; idle ones are dropped first.
const MAX_CALLERS: usize = 20_000;

/// What counts as one stranger: an IPv4 address, or the /64 that one IPv6 host may take all its addresses from.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A rate with an allowance for bursts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: f64,
    /// Requests at once after a pause.
    pub burst: f64,
}

/// One bucket for every caller.
#[derive(Debug)]
pub struct CallerLimit<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Eq + Hash> CallerLimit<K> {
    /// Limits every caller to `rate`.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::new(HashMap::new()),
        }
    }

    /// Takes one request from the caller's bucket; false if it is empty.
    pub fn admit(&self, caller: K, now: Instant) -> bool {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= MAX_CALLERS && !buckets.contains_key(&caller) {
            let rate = self.rate;
            buckets.retain(|_, bucket| bucket.level(rate, now) < rate.burst);
            if buckets.len() >= MAX_CALLERS {
                return false;
            }
        }
        let bucket = buckets.entry(caller).or_insert(Bucket {
            left: self.rate.burst,
            at: now,
        });
        bucket.left = bucket.level(self.rate, now);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

impl Bucket {
    fn level(&self, rate: Rate, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        since.mul_add(rate.per_second, self.left).min(rate.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_for_each_caller_alone() {
        let limit = CallerLimit::new(Rate {
            per_second: 2.0,
            burst: 3.0,
        });
        let start = Instant::now();
        let taken = (0..5).filter(|_| limit.admit("a", start)).count();
        assert_eq!(taken, 3);
        assert!(limit.admit("b", start));
        assert!(!limit.admit("a", start + Duration::from_millis(400)));
        assert!(limit.admit("a", start + Duration::from_secs(1)));
        let later = start + Duration::from_mins(1);
        let taken = (0..5).filter(|_| limit.admit("a", later)).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn the_addresses_of_one_host_are_one_stranger() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_ne!(of("::1"), of("127.0.0.1"));
    }

    #[test]
    fn strangers_cannot_make_it_grow_without_end() {
        let limit = CallerLimit::new(Rate {
            per_second: 0.001,
            burst: 2.0,
        });
        let now = Instant::now();
        let admitted = (0..MAX_CALLERS + 10)
            .filter(|n| limit.admit(*n, now))
            .count();
        assert_eq!(admitted, MAX_CALLERS);
        // Once the old ones are full again they make room.
        assert!(limit.admit(MAX_CALLERS + 11, now + Duration::from_secs(2000)));
    }
}
