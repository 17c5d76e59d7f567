//! The renewal timetable: when to ask for the next certificate, and when again after a failure. Pure arithmetic.

use std::time::{Duration, SystemTime};

use crate::bundle::sha256;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(1);
const SHORTEST_RETRY: Duration = Duration::from_millis(200);
/// While there is no valid certificate nothing works, so we ask sooner and more often.
const FIRST_RETRY_WITHOUT: Duration = Duration::from_millis(200);
const LONGEST_RETRY_WITHOUT: Duration = Duration::from_secs(5);

/// When one certificate is to be renewed. The jitter is drawn once per certificate from (id, serial), so that a fleet
/// that started together does not renew together, and a restart or a second look changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    received: SystemTime,
    not_after: SystemTime,
    seed: [u8; 32],
}

impl Timetable {
    /// `received` is when the certificate came into use. A CA dates certificates back a little for skewed clocks; for
    /// a short-lived certificate half of *that* life could be over on arrival, so life counts from here.
    pub fn new(received: SystemTime, not_after: SystemTime, id: &str, serial: &str) -> Self {
        let seed = sha256(format!("{id}\0{serial}").as_bytes());
        Self {
            received,
            not_after,
            seed,
        }
    }

    /// Half of life, moved by up to a tenth of life either way.
    pub fn renew_at(&self) -> SystemTime {
        let life = self
            .not_after
            .duration_since(self.received)
            .unwrap_or_default();
        let share = 0.4 + 0.2 * fraction(&self.seed, 0);
        self.received + life.mul_f64(share)
    }

    /// How long to wait after failure number `attempt` (from 0): 1 s, doubled each time, ±20 %, at most 60 s or a
    /// tenth of what is left, and never beyond expiry. After expiry: as [`retry_without`].
    pub fn retry_after(&self, attempt: u32, now: SystemTime) -> Duration {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            return retry_without(attempt, &self.seed);
        }
        let cap = LONGEST_RETRY.min(left / 10);
        back_off(FIRST_RETRY, cap, attempt, &self.seed)
            .max(SHORTEST_RETRY)
            .min(left)
    }
}

/// How long to wait after failure number `attempt` (from 0) while there is no valid certificate: 200 ms, doubled each
/// time, ±20 %, at most 5 s.
pub fn retry_without(attempt: u32, seed: &[u8]) -> Duration {
    back_off(
        FIRST_RETRY_WITHOUT,
        LONGEST_RETRY_WITHOUT,
        attempt,
        &sha256(seed),
    )
}

fn back_off(first: Duration, cap: Duration, attempt: u32, seed: &[u8; 32]) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX));
    let jitter = 0.8 + 0.4 * fraction(seed, attempt.saturating_add(1));
    doubled.min(cap).mul_f64(jitter).min(cap)
}

/// A number in [0, 1) that depends on seed and draw alone.
fn fraction(seed: &[u8; 32], draw: u32) -> f64 {
    let mut input = seed.to_vec();
    input.extend(draw.to_be_bytes());
    let [a, b, c, d, ..] = sha256(&input);
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests;
