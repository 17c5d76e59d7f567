//! A share of all requests, for faults and mirrors.

/// A share in millionths, as Istio's `Percent` is precise to 0.0001 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// Every request.
    pub const ALL: Self = Self(1_000_000);
    /// No request.
    pub const NONE: Self = Self(0);

    /// The share of so many percent, 0 to 100.
    pub fn of_percent(percent: f64) -> Self {
        let millionths = (percent * 10_000.0).round().clamp(0.0, 1_000_000.0);
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and a million, or NaN, which becomes 0"
        )]
        Self(millionths as u32)
    }

    /// Whether it is nothing.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Whether the request that a uniformly random number stands for belongs to it.
    pub fn takes(self, random: u64) -> bool {
        (u128::from(random) * 1_000_000) >> 64 < u128::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_at_their_ends_and_close_between_them() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(Share::ALL.takes(random));
            assert!(!Share::NONE.takes(random));
        }
        let tenth = Share::of_percent(10.0);
        let step = u64::MAX / 100_000;
        let taken = (0..100_000).filter(|n| tenth.takes(n * step)).count();
        assert!((9_999..=10_001).contains(&taken), "{taken}");
        assert!((Share::of_percent(0.0001).percent() - 0.0001).abs() < 1e-9);
        assert_eq!(Share::of_percent(250.0), Share::ALL);
        assert_eq!(Share::of_percent(f64::NAN), Share::NONE);
    }
}
