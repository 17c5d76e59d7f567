//! The order in which weighted endpoints take their turns.

/// Longest order that is kept; larger weights are scaled down to it.
const MAX_SLOTS: u64 = 4096;

/// A smooth weighted round robin, laid out beforehand: endpoint positions, each as often as its weight says.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule(Box<[u32]>);

impl Schedule {
    /// The order for these weights; endpoints of weight 0 get no turn.
    pub(super) fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().fold(0, |a, b| gcd(a, u64::from(*b))).max(1);
        let total: u64 = weights
            .iter()
            .map(|weight| u64::from(*weight) / divisor)
            .sum();
        let scaled: Vec<u64> = weights
            .iter()
            .map(|weight| {
                let weight = u64::from(*weight) / divisor;
                if total > MAX_SLOTS && weight > 0 {
                    (weight * MAX_SLOTS / total).max(1)
                } else {
                    weight
                }
            })
            .collect();
        let total: u64 = scaled.iter().sum();
        if scaled.iter().all(|weight| *weight == 1) {
            // One after the other; the walk below would need the square of their number.
            return Self(
                (0_u32..)
                    .zip(&scaled)
                    .map(|(position, _)| position)
                    .collect(),
            );
        }
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut current = vec![0_i64; scaled.len()];
        let mut slots = Vec::new();
        // nginx's smooth weighted round robin: everybody gains its weight, the richest takes the turn and pays the total.
        for _ in 0..total {
            let mut richest: Option<(usize, i64)> = None;
            for (position, (credit, weight)) in current.iter_mut().zip(&scaled).enumerate() {
                *credit += signed(*weight);
                if *weight > 0 && richest.is_none_or(|(_, best)| *credit > best) {
                    richest = Some((position, *credit));
                }
            }
            let Some((position, _)) = richest else { break };
            if let Some(credit) = current.get_mut(position) {
                *credit -= signed(total);
            }
            slots.extend(u32::try_from(position).ok());
        }
        Self(slots.into())
    }

    /// How many turns a round has.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The endpoint of that turn, counted from the first turn of the first round.
    pub(super) fn slot(&self, turn: u64) -> Option<usize> {
        let turns = u64::try_from(self.0.len()).ok()?;
        let slot = usize::try_from(turn.checked_rem(turns)?).ok()?;
        usize::try_from(*self.0.get(slot)?).ok()
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], rounds: usize) -> Vec<usize> {
        let schedule = Schedule::new(weights);
        let mut counts = vec![0; weights.len()];
        for turn in (0_u64..).take(rounds) {
            counts[schedule.slot(turn).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn a_cycle_is_exact() {
        assert_eq!(turns(&[90, 10], 100), [90, 10]);
        assert_eq!(turns(&[5, 1, 1], 7), [5, 1, 1]);
        assert_eq!(turns(&[1, 1], 10), [5, 5]);
        assert_eq!(turns(&[0, 3], 4), [0, 4]);
    }

    #[test]
    fn turns_are_spread() {
        let schedule = Schedule::new(&[5, 1, 1]);
        assert_eq!(*schedule.0, [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn huge_weights_stay_within_a_percent() {
        let counts = turns(&[4_000_000_007, 1_000_000_007], 100_000);
        assert!((79_000..81_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn nothing_to_pick() {
        assert_eq!(Schedule::new(&[]).slot(0), None);
        assert_eq!(Schedule::new(&[0]).slot(0), None);
    }
}
