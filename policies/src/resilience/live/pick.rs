//! The pick: which priority, which locality, which endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Choice, Claim, Healthy, Live, Turn};
use crate::resilience::Moment;
use crate::resilience::balance::{Candidates, Picker, WARM, mixed};

/// Endpoints of one priority.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) groups: Box<[Group]>,
}

/// Endpoints of one priority that are alike, such as those of one locality.
#[derive(Debug)]
pub(super) struct Group {
    /// Its share of the level's requests, relative to the other groups.
    pub(super) share: u64,
    /// Positions in the cluster, by the number that the picker gives them.
    pub(super) members: Arc<[u32]>,
    pub(super) picker: Arc<Picker>,
    pub(super) turn: Turn,
    /// How many of them are healthy.
    pub(super) healthy: Arc<Healthy>,
}

/// So many percent of the requests may be sent to a level whose endpoints are all healthy (Envoy's overprovisioning
/// factor of 1.4): with 72 % of them healthy it still takes everything.
const OVERPROVISIONED: u64 = 140;

pub(super) fn positions(members: &[u32]) -> impl Iterator<Item = usize> {
    members
        .iter()
        .filter_map(|position| usize::try_from(*position).ok())
}

/// Picks an endpoint that was not tried, else one that was.
pub(super) fn pick(live: &Live, choice: &Choice<'_>, now: Moment, random: u64) -> Option<usize> {
    let found = untried(live, choice, now, random);
    if found.is_none() && !choice.tried.is_empty() {
        let again = Choice {
            tried: &[],
            ..*choice
        };
        return untried(live, &again, now, random);
    }
    found
}

fn untried(live: &Live, choice: &Choice<'_>, now: Moment, random: u64) -> Option<usize> {
    let drawn = match &*live.levels {
        [] => return None,
        [_] => 0,
        levels => level(levels, random),
    };
    let first = live.levels.get(drawn)?;
    in_level(live, first, choice, now, random).or_else(|| {
        let others = live.levels.iter().enumerate();
        others
            .filter(|(number, _)| *number != drawn)
            .find_map(|(_, level)| in_level(live, level, choice, now, random))
    })
}

/// The level for a request: each takes what its healthy endpoints can take, the next one the rest.
fn level(levels: &[Level], random: u64) -> usize {
    let capacities = || levels.iter().map(Level::capacity);
    let total = capacities().sum::<u64>().min(100);
    let Some(mut drawn) = mixed(random, 1).checked_rem(total) else {
        return 0;
    };
    for (number, capacity) in capacities().enumerate() {
        match drawn.checked_sub(capacity) {
            Some(rest) => drawn = rest,
            None => return number,
        }
    }
    0
}

fn in_level(
    live: &Live,
    level: &Level,
    choice: &Choice<'_>,
    now: Moment,
    random: u64,
) -> Option<usize> {
    let panics = live
        .settings
        .detection
        .as_ref()
        .is_some_and(|detection| detection.panics(level.healthy(), level.size()));
    let in_group = |group: &Group| in_group(live, group, choice, now, random, panics);
    match &*level.groups {
        [] => None,
        [group] => in_group(group),
        groups => {
            let drawn = level.group(random);
            let first = groups.get(drawn).and_then(in_group);
            first.or_else(|| {
                let others = groups.iter().enumerate();
                let mut others = others.filter(|(number, _)| *number != drawn);
                others.find_map(|(_, group)| in_group(group))
            })
        }
    }
}

fn in_group(
    live: &Live,
    group: &Group,
    choice: &Choice<'_>,
    now: Moment,
    random: u64,
    panics: bool,
) -> Option<usize> {
    let candidates = Here {
        live,
        group,
        choice,
        now,
        panics,
    };
    // Who loses the race for a trial looks once more; nobody loses twice to the same endpoint.
    for round in 0..=group.members.len() {
        let salt = u64::try_from(round).unwrap_or_default();
        let random = if round == 0 {
            random
        } else {
            mixed(random, salt)
        };
        let member = group
            .picker
            .pick(&group.turn, choice.hash, random, &candidates)?;
        let position = candidates.position(member)?;
        let host = live.hosts.get(position)?;
        match host.claim(now) {
            Claim::Free => return Some(position),
            Claim::Trial { first } => {
                if first {
                    live.half_opened(position, now);
                }
                return Some(position);
            }
            Claim::Lost if panics => return Some(position),
            Claim::Lost => {}
        }
    }
    None
}

impl Level {
    fn size(&self) -> usize {
        self.groups.iter().map(|group| group.members.len()).sum()
    }

    fn healthy(&self) -> usize {
        self.groups.iter().map(Group::healthy).sum()
    }

    /// How many percent of the requests it can take.
    fn capacity(&self) -> u64 {
        available(self.healthy(), self.size())
    }

    /// The group for a request: by share, lowered where endpoints fail.
    fn group(&self, random: u64) -> usize {
        let weights = || {
            self.groups
                .iter()
                .map(|group| group.share * available(group.healthy(), group.members.len()))
        };
        let Some(mut drawn) = mixed(random, 2).checked_rem(weights().sum()) else {
            return 0;
        };
        for (number, weight) in weights().enumerate() {
            match drawn.checked_sub(weight) {
                Some(rest) => drawn = rest,
                None => return number,
            }
        }
        0
    }
}

impl Group {
    fn healthy(&self) -> usize {
        usize::try_from(self.healthy.0.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }
}

fn available(healthy: usize, size: usize) -> u64 {
    let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
    number(healthy)
        .saturating_mul(OVERPROVISIONED)
        .checked_div(number(size))
        .unwrap_or(0)
        .min(100)
}

/// The members of a group at one moment, for one request.
struct Here<'a> {
    live: &'a Live,
    group: &'a Group,
    choice: &'a Choice<'a>,
    now: Moment,
    /// Too few are healthy: everybody is used.
    panics: bool,
}

impl Here<'_> {
    fn position(&self, member: usize) -> Option<usize> {
        usize::try_from(*self.group.members.get(member)?).ok()
    }
}

impl Candidates for Here<'_> {
    fn is_fit(&self, member: usize) -> bool {
        let Some(position) = self.position(member) else {
            return false;
        };
        let host = self.live.hosts.get(position);
        host.is_some_and(|host| self.panics || host.is_fit(self.now))
            && !self.choice.tried.contains(&position)
    }

    fn warmth(&self, member: usize) -> u32 {
        let warmup = self.live.settings.warmup.as_ref();
        if warmup.is_none() {
            return WARM;
        }
        let host = self
            .position(member)
            .and_then(|position| self.live.hosts.get(position));
        host.map_or(WARM, |host| host.warmth(self.now, warmup))
    }

    fn load(&self, member: usize) -> u32 {
        let host = self
            .position(member)
            .and_then(|position| self.live.hosts.get(position));
        host.map_or(0, |host| host.active())
    }
}
