//! Whose turn it is among endpoints that are alike in everything but weight: one structure per balancer, made once for a
//! set of endpoints and read without a lock.

mod maglev;
mod ring;
mod schedule;

use std::sync::atomic::{AtomicU64, Ordering};

use maglev::Maglev;
use ring::Ring;
use schedule::Schedule;

use super::settings::Balancer;
use crate::cluster::EndpointAddress;
use crate::document::HashAlgorithm;

/// Draws before the endpoints are looked through one by one.
const DRAWS: u64 = 8;

/// An endpoint as balancers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) address: EndpointAddress,
    pub(super) weight: u32,
}

/// Picks among the members of one group; positions are those of the members.
#[derive(Debug)]
pub(super) struct Picker {
    members: Box<[Member]>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    Turns(Schedule),
    Least(Schedule),
    Random(Schedule),
    /// The schedule is for requests without a key.
    Ring(Ring, Schedule),
    Maglev(Maglev, Schedule),
}

/// What a pick may know about the members.
pub(super) trait Candidates {
    /// Whether a member may get the request now.
    fn is_fit(&self, member: usize) -> bool;
    /// How much of its share a member gets while it warms up, in 1/65536.
    fn warmth(&self, member: usize) -> u32;
    /// Tries under way at a member.
    fn load(&self, member: usize) -> u32;
}

impl Picker {
    pub(super) fn new(balancer: &Balancer, members: Box<[Member]>) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
        let schedule = Schedule::new(&weights);
        let order = match balancer {
            Balancer::RoundRobin => Order::Turns(schedule),
            Balancer::LeastRequest => Order::Least(schedule),
            Balancer::Random => Order::Random(schedule),
            Balancer::Hash { algorithm, .. } => match algorithm {
                HashAlgorithm::Ring { minimum_size } => {
                    Order::Ring(Ring::new(&members, *minimum_size), schedule)
                }
                HashAlgorithm::Maglev { table_size } => {
                    Order::Maglev(Maglev::new(&members, *table_size), schedule)
                }
            },
        };
        Self { members, order }
    }

    /// Whether this is what [`Self::new`] would make of the same arguments.
    pub(super) fn is_for(&self, balancer: &Balancer, members: &[Member]) -> bool {
        let same_order = match (&self.order, balancer) {
            (Order::Turns(_), Balancer::RoundRobin)
            | (Order::Least(_), Balancer::LeastRequest)
            | (Order::Random(_), Balancer::Random) => true,
            (Order::Ring(ring, _), Balancer::Hash { algorithm, .. }) => {
                matches!(algorithm, HashAlgorithm::Ring { minimum_size } if *minimum_size == ring.minimum_size())
            }
            (Order::Maglev(table, _), Balancer::Hash { algorithm, .. }) => {
                matches!(algorithm, HashAlgorithm::Maglev { table_size } if *table_size == table.table_size())
            }
            _ => false,
        };
        same_order && *self.members == *members
    }

    /// A member that is fit; none if there is none.
    pub(super) fn pick(
        &self,
        turn: &AtomicU64,
        hash: Option<u64>,
        random: u64,
        candidates: &impl Candidates,
    ) -> Option<usize> {
        match (&self.order, hash) {
            (Order::Turns(schedule), _) => in_turn(schedule, turn, random, candidates),
            (Order::Least(schedule), _) => self.least(schedule, random, candidates),
            (Order::Ring(ring, _), Some(hash)) => ring
                .walk(hash)
                .take(MOST_STEPS)
                .find(|member| candidates.is_fit(*member))
                .or_else(|| self.first_fit(hash, candidates)),
            (Order::Maglev(table, _), Some(hash)) => (0..DRAWS)
                .filter_map(|draw| table.member(if draw == 0 { hash } else { mixed(hash, draw) }))
                .find(|member| candidates.is_fit(*member))
                .or_else(|| self.first_fit(hash, candidates)),
            (
                Order::Random(schedule) | Order::Ring(_, schedule) | Order::Maglev(_, schedule),
                _,
            ) => self.drawn(schedule, random, candidates),
        }
    }

    /// Drawn by weight.
    fn drawn(
        &self,
        schedule: &Schedule,
        random: u64,
        candidates: &impl Candidates,
    ) -> Option<usize> {
        (0..DRAWS)
            .filter_map(|draw| schedule.slot(mixed(random, draw)))
            .find(|member| candidates.is_fit(*member))
            .or_else(|| self.fit_by_weight(mixed(random, DRAWS), candidates))
    }

    /// Of two that are drawn by weight the one with less to do for its weight; the first if they have the same.
    fn least(
        &self,
        schedule: &Schedule,
        random: u64,
        candidates: &impl Candidates,
    ) -> Option<usize> {
        let one = self.drawn(schedule, random, candidates)?;
        let random = mixed(random, u64::MAX);
        let other = (0..DRAWS)
            .filter_map(|draw| schedule.slot(mixed(random, draw)))
            .find(|member| *member != one && candidates.is_fit(*member));
        Some(match other {
            Some(other) if self.burden(other, candidates) < self.burden(one, candidates) => other,
            _ => one,
        })
    }

    /// Tries under way for the weight, with the weight lowered while the member warms up.
    fn burden(&self, member: usize, candidates: &impl Candidates) -> u64 {
        let weight = self.members.get(member).map_or(1, |member| member.weight);
        let share = u64::from(weight).saturating_mul(u64::from(candidates.warmth(member)));
        let load = u64::from(candidates.load(member)) << 48;
        load.checked_div(share).unwrap_or(u64::MAX)
    }

    /// Drawn by weight among those that are fit now: when most are out, the schedule names few others.
    fn fit_by_weight(&self, draw: u64, candidates: &impl Candidates) -> Option<usize> {
        let fit = || {
            let members = self.members.iter().enumerate();
            members.filter(|(number, member)| member.weight > 0 && candidates.is_fit(*number))
        };
        let total: u64 = fit().map(|(_, member)| u64::from(member.weight)).sum();
        let mut left = draw.checked_rem(total)?;
        for (number, member) in fit() {
            match left.checked_sub(u64::from(member.weight)) {
                Some(rest) => left = rest,
                None => return Some(number),
            }
        }
        // One that was fit a moment ago is not any more.
        fit().next().map(|(number, _)| number)
    }

    /// Any fit member, looked for from a given one on.
    fn first_fit(&self, from: u64, candidates: &impl Candidates) -> Option<usize> {
        let count = self.members.len();
        let start = usize::try_from(from.checked_rem(u64::try_from(count).ok()?)?).ok()?;
        (start..count)
            .chain(0..start)
            .filter(|member| {
                self.members
                    .get(*member)
                    .is_some_and(|member| member.weight > 0)
            })
            .find(|member| candidates.is_fit(*member))
    }
}

/// How far a ring is followed before the members are looked through one by one.
const MOST_STEPS: usize = 1024;

/// The next member in turn. One that warms up passes its turn on, the more often the colder it is.
fn in_turn(
    schedule: &Schedule,
    turn: &AtomicU64,
    random: u64,
    candidates: &impl Candidates,
) -> Option<usize> {
    let round = schedule.len();
    let mut coldest = None;
    for step in 0..round {
        let member = schedule.slot(turn.fetch_add(1, Ordering::Relaxed))?;
        let warmth = candidates.warmth(member);
        if warmth < WARM {
            let draw = mixed(random, u64::try_from(step).unwrap_or_default()) % u64::from(WARM);
            if draw >= u64::from(warmth) {
                coldest = coldest.or(Some(member));
                continue;
            }
        }
        if candidates.is_fit(member) {
            return Some(member);
        }
    }
    // Only cold ones are left.
    coldest?;
    (0..round)
        .filter_map(|_| schedule.slot(turn.fetch_add(1, Ordering::Relaxed)))
        .find(|member| candidates.is_fit(*member))
}

/// The warmth of a member that has its full share.
pub(super) const WARM: u32 = 1 << 16;

/// A number made of two, each of whose bits depends on all of theirs (splitmix64).
pub(super) const fn mixed(seed: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of bytes that is the same in every process: keys of requests and names of endpoints.
pub(super) fn fingerprint(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mixed(seed, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        hash = mixed(
            hash,
            <[u8; 8]>::try_from(chunk).map_or(0, u64::from_le_bytes),
        );
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(chunks.remainder()) {
        *to = *from;
    }
    mixed(hash, u64::from_le_bytes(last))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Members of given weights whose first ones may be out.
    pub(in crate::resilience) struct Fakes {
        pub(in crate::resilience) out: Vec<usize>,
        pub(in crate::resilience) loads: Vec<u32>,
        pub(in crate::resilience) warmth: HashMap<usize, u32>,
    }

    impl Candidates for Fakes {
        fn is_fit(&self, member: usize) -> bool {
            !self.out.contains(&member)
        }
        fn warmth(&self, member: usize) -> u32 {
            self.warmth.get(&member).copied().unwrap_or(WARM)
        }
        fn load(&self, member: usize) -> u32 {
            self.loads.get(member).copied().unwrap_or(0)
        }
    }

    fn everybody() -> Fakes {
        Fakes {
            out: Vec::new(),
            loads: Vec::new(),
            warmth: HashMap::new(),
        }
    }

    pub(super) fn members(weights: &[u32]) -> Box<[Member]> {
        let member = |(number, weight): (usize, &u32)| Member {
            address: EndpointAddress::Name {
                host: format!("host-{number}").into(),
                port: 80,
            },
            weight: *weight,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn counts(balancer: &Balancer, weights: &[u32], times: u64, candidates: &Fakes) -> Vec<u64> {
        let picker = Picker::new(balancer, members(weights));
        let turn = AtomicU64::new(0);
        let mut counts = vec![0; weights.len()];
        for number in 0..times {
            if let Some(member) = picker.pick(&turn, None, mixed(42, number), candidates) {
                counts[member] += 1;
            }
        }
        counts
    }

    #[test]
    fn weights_converge_with_every_balancer() {
        let hash = |algorithm| Balancer::Hash {
            key: None,
            algorithm,
        };
        for balancer in [
            Balancer::RoundRobin,
            Balancer::LeastRequest,
            Balancer::Random,
            hash(HashAlgorithm::Ring { minimum_size: 64 }),
            hash(HashAlgorithm::Maglev { table_size: 1009 }),
        ] {
            let counts = counts(&balancer, &[1, 2, 5], 80_000, &everybody());
            for (count, weight) in counts.iter().zip([1, 2, 5]) {
                let expected = 10_000 * weight;
                assert!(count.abs_diff(expected) < 400, "{balancer:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn nobody_who_is_out_is_picked_and_everybody_else_is() {
        for balancer in [
            Balancer::RoundRobin,
            Balancer::LeastRequest,
            Balancer::Random,
        ] {
            let mut candidates = everybody();
            candidates.out = (0..50).filter(|member| member % 7 != 3).collect();
            let counts = counts(&balancer, &[1; 50], 2_000, &candidates);
            for (member, count) in counts.iter().enumerate() {
                assert_eq!(*count > 0, member % 7 == 3, "{balancer:?}: {counts:?}");
            }
            candidates.out = (0..50).collect();
            let none = self::counts(&balancer, &[1; 50], 10, &candidates);
            assert!(none.iter().all(|count| *count == 0));
        }
    }

    #[test]
    fn the_busy_one_of_two_gets_nothing() {
        let mut candidates = everybody();
        candidates.loads = vec![9, 3];
        // Now and then all draws fall on the first.
        let busy = counts(&Balancer::LeastRequest, &[1, 1], 1_000, &candidates);
        assert!(busy[0] < 20, "{busy:?}");
        // Three times the weight may have three times as much to do.
        candidates.loads = vec![9, 4];
        let counts = counts(&Balancer::LeastRequest, &[3, 1], 1_000, &candidates);
        assert!(counts[1] < 10, "{counts:?}");
    }

    #[test]
    fn a_cold_one_gets_less() {
        let mut candidates = everybody();
        candidates.warmth.insert(1, WARM / 10);
        let counts = counts(&Balancer::RoundRobin, &[1, 1], 11_000, &candidates);
        assert!(counts[1].abs_diff(1_000) < 150, "{counts:?}");
        candidates.warmth.insert(0, 0);
        candidates.warmth.insert(1, 0);
        let all_cold = self::counts(&Balancer::RoundRobin, &[1, 1], 100, &candidates);
        assert_eq!(all_cold.iter().sum::<u64>(), 100);
    }

    fn owners(algorithm: HashAlgorithm, members: &[Member]) -> Vec<EndpointAddress> {
        let balancer = Balancer::Hash {
            key: None,
            algorithm,
        };
        let picker = Picker::new(&balancer, members.into());
        let turn = AtomicU64::new(0);
        let owner = |key: u64| {
            let hash = fingerprint(0, &key.to_le_bytes());
            let member = picker.pick(&turn, Some(hash), 0, &everybody()).unwrap();
            members[member].address.clone()
        };
        (0..20_000).map(owner).collect()
    }

    /// A new endpoint takes its share of the keys, and no key moves between two others.
    #[test]
    fn a_hash_moves_at_most_its_share() {
        for (algorithm, strays) in [
            (HashAlgorithm::Ring { minimum_size: 1024 }, 0),
            // Maglev gives up a little of this for its speed (section 3.4 of the paper).
            (HashAlgorithm::Maglev { table_size: 65_537 }, 400),
        ] {
            for count in [1, 2, 3, 7, 10, 20] {
                let before = owners(algorithm, &members(&vec![1; count]));
                let after = owners(algorithm, &members(&vec![1; count + 1]));
                let newcomer = &members(&vec![1; count + 1])[count].address;
                let changed = before.iter().zip(&after).filter(|(a, b)| a != b);
                let (to_newcomer, between): (Vec<_>, Vec<_>) =
                    changed.partition(|(_, to)| *to == newcomer);
                let share = 20_000 / (count + 1);
                assert!(
                    between.len() <= strays,
                    "{algorithm:?} {count}: {}",
                    between.len()
                );
                assert!(
                    to_newcomer.len().abs_diff(share) < share / 5 + 100,
                    "{algorithm:?} {count}: {} of {share}",
                    to_newcomer.len()
                );
            }
        }
    }

    #[test]
    fn a_hash_goes_on_when_its_endpoint_is_out() {
        for algorithm in [
            HashAlgorithm::Ring { minimum_size: 64 },
            HashAlgorithm::Maglev { table_size: 1009 },
        ] {
            let balancer = Balancer::Hash {
                key: None,
                algorithm,
            };
            let picker = Picker::new(&balancer, members(&[1; 10]));
            let turn = AtomicU64::new(0);
            let mut candidates = everybody();
            let pick = |candidates: &Fakes| picker.pick(&turn, Some(77), 0, candidates);
            let first = pick(&candidates).unwrap();
            assert_eq!(pick(&candidates), Some(first));
            candidates.out.push(first);
            let second = pick(&candidates).unwrap();
            assert_ne!(first, second);
            assert_eq!(pick(&candidates), Some(second));
            candidates.out = (0..10).filter(|member| *member != 4).collect();
            assert_eq!(pick(&candidates), Some(4));
            candidates.out.push(4);
            assert_eq!(pick(&candidates), None);
        }
    }

    #[test]
    fn a_hash_honours_weights() {
        for algorithm in [
            HashAlgorithm::Ring { minimum_size: 1024 },
            HashAlgorithm::Maglev { table_size: 65_537 },
        ] {
            let members = members(&[1, 4]);
            let heavy = members[1].address.clone();
            let owners = owners(algorithm, &members);
            let share = owners.iter().filter(|owner| **owner == heavy).count();
            assert!(share.abs_diff(16_000) < 1_000, "{algorithm:?}: {share}");
        }
    }
}
