//! The live state of one cluster.

mod carried;
mod pick;
mod shown;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use shown::{EndpointState, LiveState};

use super::host::{Claim, Host};
use super::settings::{Balancer, Settings};
use super::transition::{Observer, Reason, Transition};
use super::{BreakerState, Budget, HashKey, Moment, TryOutcome};
use crate::cluster::{ClusterKey, EndpointAddress};
use carried::Shared;
use pick::Level;

/// The live state of one cluster in one generation; what is known about its endpoints is carried from generation to
/// generation by their addresses.
#[derive(Debug)]
pub struct Live {
    key: ClusterKey,
    settings: Arc<Settings>,
    addresses: Box<[EndpointAddress]>,
    /// By position in the cluster.
    hosts: Arc<[Arc<Host>]>,
    /// By priority, the first first.
    levels: Box<[Level]>,
    shared: Arc<Shared>,
    budget: Budget,
}

/// What the pick of an endpoint depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Positions that were tried for this request; passed over while others are left.
    pub tried: &'a [usize],
    /// The hash of the request's key (`consistentHash`); none if the request has no such key.
    pub hash: Option<u64>,
}

/// Why a request may not pass: a limit of the destination's connection pool is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// A request under way to the cluster, until dropped.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

/// A try under way at one endpoint. Dropped without a report it counts as cancelled.
#[derive(Debug)]
pub struct Try {
    live: Arc<Live>,
    position: usize,
    /// Whether it is the one request that a half-open breaker lets through.
    trial: bool,
}

impl Live {
    /// What the documents say about the cluster.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How many retries the cluster gets.
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`Overflow`] when as many requests are under way as `http2MaxRequests` allows.
    pub fn admit(&self) -> Result<Admission, Overflow> {
        let active = &self.shared.active;
        match self.settings.pool.max_requests {
            None => {
                active.fetch_add(1, Ordering::Relaxed);
            }
            Some(most) => {
                let admitted = active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                    (now < most).then(|| now.saturating_add(1))
                });
                if admitted.is_err() {
                    self.shared.overflows.fetch_add(1, Ordering::Relaxed);
                    return Err(Overflow);
                }
            }
        }
        Ok(Admission {
            shared: Arc::clone(&self.shared),
        })
    }

    /// Requests under way to the cluster.
    pub fn active(&self) -> u32 {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// The key of a request that its endpoint is found by (`consistentHash`); none with other balancers.
    pub fn hash_key(&self) -> Option<&HashKey> {
        match &self.settings.balancer {
            Balancer::Hash { key, .. } => key.as_ref(),
            _ => None,
        }
    }

    /// The position of the endpoint that gets the next try; none if there is none to use.
    ///
    /// If its breaker is half-open, the trial is kept for this try, which should begin at once.
    pub fn pick(&self, choice: &Choice<'_>, now: Moment, random: u64) -> Option<usize> {
        pick::pick(self, choice, now, random)
    }

    /// Notes that a try begins at an endpoint.
    pub fn begin(self: &Arc<Self>, position: usize, now: Moment) -> Try {
        Try {
            trial: self.hosts.get(position).is_some_and(|host| host.begin(now)),
            position,
            live: Arc::clone(self),
        }
    }

    /// What an active health check says about an endpoint.
    pub fn set_health(&self, position: usize, healthy: bool, now: Moment) {
        if let Some(host) = self.hosts.get(position)
            && host.set_health(healthy, now)
        {
            self.shared.recount();
        }
    }

    /// Closes an endpoint's breaker and forgets its past; whether it was not closed.
    pub fn reset(&self, position: usize, now: Moment) -> bool {
        let Some(host) = self.hosts.get(position) else {
            return false;
        };
        self.change(position, Reason::Operator, now, |_| {
            let from = host.state(now);
            host.reset(now);
            (from != BreakerState::Closed).then_some((from, BreakerState::Closed, None))
        })
    }

    /// Who hears of transitions; the first one that is named stays.
    pub fn observe(&self, observer: &Arc<dyn Observer>) {
        self.shared.observer.get_or_init(|| Arc::clone(observer));
    }

    /// Changes a breaker under the cluster's lock and tells of it; whether it changed.
    fn change(
        &self,
        position: usize,
        reason: Reason,
        now: Moment,
        change: impl FnOnce(&carried::Roster) -> Option<(BreakerState, BreakerState, Option<Moment>)>,
    ) -> bool {
        let Some(endpoint) = self.addresses.get(position) else {
            return false;
        };
        let changed = self.shared.locked(|roster| {
            let (from, to, until) = change(roster)?;
            let transition = Transition {
                endpoint: endpoint.clone(),
                from,
                to,
                reason,
                at: now,
                until,
            };
            roster.remember(&transition);
            Some(transition)
        });
        if let (Some(transition), Some(observer)) = (&changed, self.shared.observer.get()) {
            observer.transition(&self.key, transition);
        }
        changed.is_some()
    }

    /// Notes that an ejection is over, which is seen when the first request asks for the trial.
    fn half_opened(&self, position: usize, now: Moment) {
        let states = (BreakerState::Open, BreakerState::HalfOpen, None);
        self.change(position, Reason::TimeOver, now, |_| Some(states));
    }
}

impl Try {
    /// The endpoint's position.
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Whether it is the one request that the endpoint's half-open breaker lets through.
    pub const fn is_trial(&self) -> bool {
        self.trial
    }

    /// How the try ended.
    pub fn report(mut self, outcome: TryOutcome, now: Moment) {
        let trial = std::mem::take(&mut self.trial);
        self.live.judge(self.position, trial, outcome, now);
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if let Some(host) = self.live.hosts.get(self.position) {
            host.end();
            if self.trial {
                host.release_trial();
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Endpoints of one group of a level, as the last change left them.
#[derive(Debug, Default)]
struct Healthy(AtomicU32);

/// Whose turn it is in a group, carried from generation to generation.
type Turn = Arc<AtomicU64>;

#[cfg(test)]
mod tests;
