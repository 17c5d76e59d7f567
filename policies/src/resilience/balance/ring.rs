//! A hash ring: each endpoint owns the arcs that end at its points.

use super::{Member, fingerprint, mixed};

/// Points of a ring, unless a document asks for more: 3 MiB.
const MOST_POINTS: u64 = 1 << 18;

/// The points of every endpoint in order.
///
/// Every endpoint has as many points as the document's `minimumRingSize`, whatever the number of endpoints, so that one
/// which comes or goes moves its own keys only. (Envoy shares the points out anew.) Weights lower the number.
#[derive(Debug)]
pub(super) struct Ring {
    minimum_size: u64,
    points: Box<[u64]>,
    owners: Box<[u32]>,
}

impl Ring {
    pub(super) fn new(members: &[Member], minimum_size: u64) -> Self {
        let count = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
        let mut each = minimum_size.max(1);
        // Halved, not shared out: then most points stay where they are.
        while each > 1 && each.saturating_mul(count) > MOST_POINTS.max(minimum_size) {
            each /= 2;
        }
        let heaviest = members.iter().map(|member| u64::from(member.weight)).max();
        let heaviest = heaviest.unwrap_or(1).max(1);
        let mut found: Vec<(u64, u32)> = Vec::new();
        for (position, member) in (0_u32..).zip(members) {
            let name = fingerprint(0, member.address.to_string().as_bytes());
            let share = u128::from(each) * u128::from(member.weight);
            let points = u64::try_from(share.div_ceil(u128::from(heaviest))).unwrap_or(each);
            found.extend((0..points).map(|point| (mixed(name, point), position)));
        }
        found.sort_unstable();
        let (points, owners): (Vec<u64>, Vec<u32>) = found.into_iter().unzip();
        Self {
            minimum_size,
            points: points.into(),
            owners: owners.into(),
        }
    }

    pub(super) const fn minimum_size(&self) -> u64 {
        self.minimum_size
    }

    /// The owners from the hash's own point on, once around.
    pub(super) fn walk(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = self.points.partition_point(|point| *point < hash);
        let (before, after) = self.owners.split_at_checked(start).unwrap_or_default();
        after
            .iter()
            .chain(before)
            .filter_map(|owner| usize::try_from(*owner).ok())
    }
}
