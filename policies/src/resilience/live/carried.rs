//! What outlives a generation: counters of the cluster, what is known about its endpoints, and the lock under which
//! breakers open and close.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::pick::{self, Group, Level};
use super::{Healthy, Live};
use crate::cluster::{Cluster, EndpointAddress};
use crate::resilience::balance::{Member, Picker};
use crate::resilience::host::Host;
use crate::resilience::locality::Place;
use crate::resilience::settings::Settings;
use crate::resilience::transition::{Observer, Transition};
use crate::resilience::{BreakerState, Budget, Moment, RetryLimits};

/// Transitions that are remembered for each cluster.
const REMEMBERED: usize = 32;

/// What all generations of one cluster share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Requests under way.
    pub(super) active: AtomicU32,
    /// Requests that found no room.
    pub(super) overflows: AtomicU64,
    /// Ejections that `maxEjectionPercent` did not allow.
    pub(super) spared: AtomicU64,
    pub(super) observer: OnceLock<Arc<dyn Observer>>,
    /// Held while a breaker opens or closes; never on the way of a request that succeeds.
    roster: Mutex<Roster>,
}

/// The endpoints of the newest generation.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) hosts: Arc<[Arc<Host>]>,
    groups: Vec<(Arc<Healthy>, Arc<[u32]>)>,
    transitions: VecDeque<Transition>,
}

impl Shared {
    /// Changes something about breakers, and counts the healthy anew.
    pub(super) fn locked<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut roster);
        roster.count();
        done
    }

    pub(super) fn recount(&self) {
        self.locked(|_| ());
    }

    /// The last transitions, the oldest first.
    pub(super) fn transitions(&self) -> Vec<Transition> {
        self.locked(|roster| roster.transitions.iter().cloned().collect())
    }
}

impl Roster {
    /// How many endpoints are ejected.
    pub(super) fn ejected(&self, now: Moment) -> usize {
        let hosts = self.hosts.iter();
        hosts
            .filter(|host| host.state(now) != BreakerState::Closed)
            .count()
    }

    pub(super) fn remember(&mut self, transition: &Transition) {
        if self.transitions.len() >= REMEMBERED {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition.clone());
    }

    fn count(&self) {
        for (healthy, members) in &self.groups {
            let found = members.iter().filter(|position| {
                let host = usize::try_from(**position).ok();
                host.and_then(|position| self.hosts.get(position))
                    .is_some_and(|host| host.is_healthy())
            });
            let found = u32::try_from(found.count()).unwrap_or(u32::MAX);
            healthy.0.store(found, Ordering::Relaxed);
        }
    }
}

impl Live {
    /// The state of a cluster; `previous` is that of the same cluster one generation earlier.
    pub fn new(cluster: &Cluster, previous: Option<&Self>, now: Moment) -> Self {
        let settings = Arc::clone(&cluster.resilience);
        let hosts = hosts(cluster, previous, now);
        let levels = levels(cluster, &settings, previous);
        let shared = previous.map_or_else(Arc::default, |live| Arc::clone(&live.shared));
        if settings.detection.is_none() {
            for host in hosts.iter() {
                if host.state(now) != BreakerState::Closed {
                    host.reset(now);
                }
            }
        }
        let groups = levels.iter().flat_map(|level| &level.groups);
        let groups = groups
            .map(|group| (Arc::clone(&group.healthy), Arc::clone(&group.members)))
            .collect();
        {
            let mut roster = shared.roster.lock().unwrap_or_else(PoisonError::into_inner);
            roster.hosts = Arc::clone(&hosts);
            roster.groups = groups;
            roster.count();
        }
        let limits = RetryLimits {
            budget: settings.retry_budget,
            max_retries: settings.pool.max_retries.filter(|most| *most > 0),
        };
        let addresses = cluster.endpoints.iter();
        Self {
            budget: Budget::new(limits, previous.map(|live| &live.budget)),
            key: cluster.key.clone(),
            addresses: addresses.map(|endpoint| endpoint.address.clone()).collect(),
            settings,
            hosts,
            levels,
            shared,
        }
    }
}

/// The endpoints as they were known, and newcomers.
fn hosts(cluster: &Cluster, previous: Option<&Live>, now: Moment) -> Arc<[Arc<Host>]> {
    let Some(previous) = previous else {
        // Of endpoints that were there before the proxy nobody knows that they are new.
        return cluster.endpoints.iter().map(|_| Arc::default()).collect();
    };
    let mut known: HashMap<&EndpointAddress, Vec<&Arc<Host>>> = HashMap::new();
    for (address, host) in previous.addresses.iter().zip(previous.hosts.iter()).rev() {
        known.entry(address).or_default().push(host);
    }
    let endpoints = cluster.endpoints.iter();
    endpoints
        .map(|endpoint| {
            let host = known.get_mut(&endpoint.address).and_then(Vec::pop);
            host.map_or_else(|| Arc::new(Host::newcomer(now)), Arc::clone)
        })
        .collect()
}

/// The endpoints in order of use, with whatever of the previous generation still fits.
fn levels(cluster: &Cluster, settings: &Settings, previous: Option<&Live>) -> Box<[Level]> {
    let mut placed: Vec<(Place, u32)> = (0_u32..)
        .zip(&cluster.endpoints)
        .filter_map(|(position, endpoint)| Some((settings.locality.place(endpoint)?, position)))
        .collect();
    placed.sort_unstable();
    let mut levels: Vec<Level> = Vec::new();
    for of_level in placed.chunk_by(|(a, _), (b, _)| a.priority == b.priority) {
        let number = levels.len();
        let before = previous.and_then(|live| live.levels.get(number));
        let groups = of_level
            .chunk_by(|(a, _), (b, _)| a.group == b.group)
            .enumerate()
            .map(|(nth, of_group)| {
                let before = before.and_then(|level| level.groups.get(nth));
                let place = of_group.first().map_or(0, |(place, _)| place.group);
                let positions = of_group.iter().map(|(_, position)| *position);
                group(cluster, settings, place, positions.collect(), before)
            });
        levels.push(Level {
            groups: groups.collect(),
        });
    }
    levels.into()
}

fn group(
    cluster: &Cluster,
    settings: &Settings,
    place: usize,
    members: Arc<[u32]>,
    before: Option<&Group>,
) -> Group {
    let endpoints =
        pick::positions(&members).filter_map(|position| cluster.endpoints.get(position));
    let described: Box<[Member]> = endpoints
        .map(|endpoint| Member {
            address: endpoint.address.clone(),
            weight: endpoint.weight,
        })
        .collect();
    let same = before.filter(|before| before.picker.is_for(&settings.balancer, &described));
    Group {
        share: settings.locality.share(place),
        picker: same.map_or_else(
            || Arc::new(Picker::new(&settings.balancer, described)),
            |before| Arc::clone(&before.picker),
        ),
        members,
        turn: before.map_or_else(Arc::default, |before| Arc::clone(&before.turn)),
        healthy: Arc::default(),
    }
}
