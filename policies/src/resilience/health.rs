//! What active checks make of one endpoint: so many in a row that it takes, and no clock.

use std::time::Duration;

use crate::document::health_check::HealthCheckSettings;

/// The health of one endpoint. It begins healthy: until it was asked often enough, nobody knows better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    healthy: bool,
    /// Checks in a row that say the contrary.
    against: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            healthy: true,
            against: 0,
        }
    }
}

impl Health {
    /// Whether the endpoint is to get requests.
    pub const fn is_healthy(self) -> bool {
        self.healthy
    }

    /// A check was passed or failed; whether the endpoint's health changed by it.
    pub fn checked(&mut self, passed: bool, settings: &HealthCheckSettings) -> bool {
        if passed == self.healthy {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        let needed = if passed {
            settings.healthy_threshold
        } else {
            settings.unhealthy_threshold
        };
        if self.against < needed {
            return false;
        }
        *self = Self {
            healthy: passed,
            against: 0,
        };
        true
    }
}

impl HealthCheckSettings {
    /// How long it is until the first check of an endpoint: at most the interval and a second, so that the checks of many
    /// endpoints spread.
    pub fn first_pause(&self, random: u64) -> Duration {
        let longest = self.interval.min(Duration::from_secs(1));
        let thousandths = u32::try_from(random % 1_000).unwrap_or_default();
        longest.saturating_mul(thousandths) / 1_000
    }

    /// How long it is until the next one: the interval, up to a tenth more or less.
    pub fn pause(&self, random: u64) -> Duration {
        let thousandths = u32::try_from(900 + random % 201).unwrap_or(1_000);
        // Divided first: whoever writes a century gets it.
        (self.interval / 1_000).saturating_mul(thousandths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::health_check::HealthProbe;

    fn settings(healthy: u32, unhealthy: u32) -> HealthCheckSettings {
        HealthCheckSettings {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            healthy_threshold: healthy,
            unhealthy_threshold: unhealthy,
            probe: HealthProbe::Tcp,
        }
    }

    /// `+` is a check that was passed, `-` one that failed; what the endpoint is after each.
    fn timeline(checks: &str, settings: &HealthCheckSettings) -> String {
        let mut health = Health::default();
        let after = checks.chars().map(|check| {
            let before = health.is_healthy();
            let changed = health.checked(check == '+', settings);
            assert_eq!(changed, before != health.is_healthy());
            if health.is_healthy() { 'h' } else { 'u' }
        });
        after.collect()
    }

    #[test]
    fn only_checks_in_a_row_count() {
        let defaults = settings(2, 3);
        for (checks, expected) in [
            ("++++", "hhhh"),
            ("---", "hhu"),
            ("--+---", "hhhhhu"),
            ("---+-++", "hhuuuuh"),
            ("---++---", "hhuuhhhu"),
        ] {
            assert_eq!(timeline(checks, &defaults), expected, "{checks}");
        }
        assert_eq!(timeline("-+-+", &settings(1, 1)), "uhuh");
    }

    #[test]
    fn pauses_spread_about_the_interval() {
        let settings = settings(1, 1);
        let millis = Duration::from_millis;
        assert_eq!(settings.pause(0), millis(9_000));
        assert_eq!(settings.pause(100), millis(10_000));
        assert_eq!(settings.pause(200), millis(11_000));
        assert_eq!(settings.first_pause(0), Duration::ZERO);
        for random in 0..2_000 {
            assert!(settings.first_pause(random) < Duration::from_secs(1));
            assert!((millis(9_000)..=millis(11_000)).contains(&settings.pause(random)));
        }
        let endless = HealthCheckSettings {
            interval: Duration::MAX,
            ..settings
        };
        assert!(endless.pause(200) > endless.pause(0));
    }
}
