//! The scenarios that hold at one workload now; pure: the time and random numbers are arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use policies::resilience::Moment;
use serde::{Deserialize, Serialize};

use super::fault::{ErrorType, Fault, LONGEST_DELAY};

/// How many scenarios may hold at one workload.
pub const MOST_SCENARIOS: usize = 16;
/// The longest time that a scenario may hold: chaos that is forgotten ends by itself.
pub const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// The longest name of a scenario, in bytes.
const LONGEST_ID: usize = 64;
/// Two accounts of one end differ by what it took to pass them on; less than this is no change.
const SAME_END: Duration = Duration::from_secs(1);

/// A scenario as it is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Its name: one that is ordered again goes on where it was.
    pub id: String,
    /// What it does.
    pub fault: Fault,
    /// After how many milliseconds it ends by itself.
    pub remaining_ms: u64,
    /// With a seed, the same requests in the same order are struck, at each instance in its own order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// A scenario as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioShown {
    /// Its name.
    pub id: String,
    /// What it does.
    pub fault: Fault,
    /// After how many milliseconds it ends by itself.
    pub remaining_ms: u64,
    /// How many requests it has struck here.
    pub struck: u64,
}

/// Why an order is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOrder {
    /// More than [`MOST_SCENARIOS`].
    #[error("{0} scenarios, expected at most {MOST_SCENARIOS}")]
    TooMany(usize),
    /// An id that cannot be a name.
    #[error("an id has 1 to {LONGEST_ID} characters of letters, digits, `-`, `_` and `.`")]
    BadId,
    /// Two scenarios of one name.
    #[error("the id `{0}` stands twice")]
    Twice(String),
    /// A scenario that would hold for too long or not at all.
    #[error("scenario `{0}` must end within 24 h, and not at once")]
    BadLife(String),
    /// A delay that is too long.
    #[error("the delay of scenario `{0}` is longer than 1 h")]
    LongDelay(String),
}

/// What is to happen to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strike {
    /// How long it waits first.
    pub delay: Option<Duration>,
    /// How it fails then; with the moment until which a [`ErrorType::Timeout`] holds.
    pub error: Option<(ErrorType, Moment)>,
}

impl Strike {
    /// Nothing happens.
    pub const MISS: Self = Self {
        delay: None,
        error: None,
    };
}

/// The scenarios in force.
#[derive(Debug, Default)]
pub(super) struct Running {
    scenarios: Vec<Arc<One>>,
}

#[derive(Debug)]
struct One {
    id: String,
    fault: Fault,
    ends: Moment,
    seed: Option<u64>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    drawn: AtomicU64,
    struck: AtomicU64,
}

impl Running {
    /// What holds after an order: exactly what is ordered. A scenario that held before keeps its counters.
    pub(super) fn replaced(
        &self,
        orders: Vec<Scenario>,
        instance: &str,
        now: Moment,
    ) -> Result<Self, BadOrder> {
        if orders.len() > MOST_SCENARIOS {
            return Err(BadOrder::TooMany(orders.len()));
        }
        let mut scenarios: Vec<Arc<One>> = Vec::with_capacity(orders.len());
        for order in orders {
            check(&order)?;
            if scenarios.iter().any(|earlier| earlier.id == order.id) {
                return Err(BadOrder::Twice(order.id));
            }
            let known = self.scenarios.iter().find(|one| one.id == order.id);
            let mut ends = now.plus(Duration::from_millis(order.remaining_ms));
            if let Some(known) = known
                && known.ends.since(ends).max(ends.since(known.ends)) < SAME_END
            {
                ends = known.ends;
            }
            scenarios.push(Arc::new(One {
                seed: order.seed.map(|seed| of_instance(seed, instance)),
                counters: known.map_or_else(Arc::default, |known| Arc::clone(&known.counters)),
                id: order.id,
                fault: order.fault,
                ends,
            }));
        }
        Ok(Self { scenarios })
    }

    /// What holds still, if that is less.
    pub(super) fn swept(&self, now: Moment) -> Option<Self> {
        let all_hold = self.scenarios.iter().all(|one| one.ends > now);
        (!all_hold).then(|| {
            let hold = self.scenarios.iter().filter(|one| one.ends > now);
            Self {
                scenarios: hold.cloned().collect(),
            }
        })
    }

    /// When the first of them ends.
    pub(super) fn next_end(&self) -> Option<Moment> {
        self.scenarios.iter().map(|one| one.ends).min()
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.scenarios.len()
    }

    /// The names and what they do.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&str, &Fault)> {
        self.scenarios.iter().map(|one| (&*one.id, &one.fault))
    }

    /// Whether a scenario of that name holds and does that.
    pub(super) fn has(&self, id: &str, fault: &Fault) -> bool {
        self.faults().any(|known| known == (id, fault))
    }

    /// What happens to the request that comes now. Delays add up; of errors the first holds.
    pub(super) fn strike(&self, now: Moment, mut random: impl FnMut() -> u64) -> Strike {
        let mut strike = Strike::MISS;
        for one in self.scenarios.iter().filter(|one| one.ends > now) {
            let share = match one.fault {
                Fault::Error { .. } if strike.error.is_some() => continue,
                Fault::Error { rate, .. } => rate,
                Fault::Latency { probability, .. } => probability,
            };
            let number = match one.seed {
                Some(seed) => nth(seed, one.counters.drawn.fetch_add(1, Ordering::Relaxed)),
                None => random(),
            };
            if !share.holds(number) {
                continue;
            }
            one.counters.struck.fetch_add(1, Ordering::Relaxed);
            match one.fault {
                Fault::Error { error_type, .. } => strike.error = Some((error_type, one.ends)),
                Fault::Latency { delay_ms, .. } => {
                    let more = Duration::from_millis(delay_ms);
                    strike.delay = Some(strike.delay.unwrap_or_default().saturating_add(more));
                }
            }
        }
        strike
    }

    /// What holds, for people.
    pub(super) fn shown(&self, now: Moment) -> Vec<ScenarioShown> {
        let holding = self.scenarios.iter().filter(|one| one.ends > now);
        holding
            .map(|one| ScenarioShown {
                id: one.id.clone(),
                fault: one.fault,
                remaining_ms: millis(one.ends.since(now)),
                struck: one.counters.struck.load(Ordering::Relaxed),
            })
            .collect()
    }
}

fn check(order: &Scenario) -> Result<(), BadOrder> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if order.id.is_empty() || order.id.len() > LONGEST_ID || !order.id.bytes().all(plain) {
        return Err(BadOrder::BadId);
    }
    if !(1..=millis(LONGEST_LIFE)).contains(&order.remaining_ms) {
        return Err(BadOrder::BadLife(order.id.clone()));
    }
    match order.fault {
        Fault::Latency { delay_ms, .. } if delay_ms > millis(LONGEST_DELAY) => {
            Err(BadOrder::LongDelay(order.id.clone()))
        }
        _ => Ok(()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Instances of one service must not fail in step: a retry at the next one would fare as the first did.
fn of_instance(seed: u64, instance: &str) -> u64 {
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    seed ^ instance.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The n-th number of a seed (SplitMix64, Steele et al. 2014).
const fn nth(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
