//! Maglev: a table of endpoints that a hash indexes (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", section 3.4).

use super::{Member, fingerprint, mixed};

/// The table; its size is a prime.
#[derive(Debug)]
pub(super) struct Maglev {
    table_size: u64,
    table: Box<[u32]>,
}

/// What stands in a place that nobody has taken.
const EMPTY: u32 = u32::MAX;

/// How an endpoint goes through the table.
struct Walk {
    position: u32,
    at: u64,
    skip: u64,
    weight: u64,
    /// What it has been granted so far, in parts of the heaviest weight.
    credit: u64,
}

impl Maglev {
    pub(super) fn new(members: &[Member], table_size: u64) -> Self {
        let heaviest = members.iter().map(|member| u64::from(member.weight)).max();
        let heaviest = heaviest.unwrap_or(0);
        let mut walks: Vec<Walk> = (0_u32..)
            .zip(members)
            .filter(|(_, member)| member.weight > 0)
            .map(|(position, member)| {
                let name = fingerprint(0, member.address.to_string().as_bytes());
                Walk {
                    position,
                    at: name.checked_rem(table_size).unwrap_or_default(),
                    skip: mixed(name, 1)
                        .checked_rem(table_size.saturating_sub(1))
                        .map_or(1, |skip| skip + 1),
                    weight: u64::from(member.weight),
                    credit: 0,
                }
            })
            .collect();
        let places = usize::try_from(table_size).unwrap_or(0);
        let mut table = vec![EMPTY; places];
        let mut left = if walks.is_empty() { 0 } else { places };
        while left > 0 {
            for walk in &mut walks {
                // The heaviest takes a place in every round, one of half its weight in every second.
                walk.credit += walk.weight;
                if walk.credit < heaviest || left == 0 {
                    continue;
                }
                walk.credit -= heaviest;
                left -= usize::from(walk.take(&mut table, table_size));
            }
        }
        Self {
            table_size,
            table: table.into(),
        }
    }

    pub(super) const fn table_size(&self) -> u64 {
        self.table_size
    }

    /// The owner of a hash.
    pub(super) fn member(&self, hash: u64) -> Option<usize> {
        let place = usize::try_from(hash.checked_rem(self.table_size)?).ok()?;
        let owner = *self.table.get(place)?;
        usize::try_from(owner).ok().filter(|_| owner != EMPTY)
    }
}

impl Walk {
    /// Takes the next place that is free; whether there was one.
    fn take(&mut self, table: &mut [u32], table_size: u64) -> bool {
        for _ in 0..table_size {
            let place = usize::try_from(self.at).unwrap_or(usize::MAX);
            self.at = (self.at + self.skip)
                .checked_rem(table_size)
                .unwrap_or_default();
            if let Some(owner) = table.get_mut(place).filter(|owner| **owner == EMPTY) {
                *owner = self.position;
                return true;
            }
        }
        false
    }
}
