//! The proxy's own certificate as operators see it: on the status page and as metrics.

use std::time::{SystemTime, UNIX_EPOCH};

use identity::keeper::{KeeperState, KeeperStatus};
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use serde::Serialize;
use tokio::sync::watch;

/// The certificate and its keeper, as `/status` shows them. Times are RFC 3339.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    spiffe_id: Option<String>,
    serial: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    state: &'static str,
    last_error: Option<String>,
    renewals: u64,
    ca_reachable: bool,
    bundle_sequence: u64,
}

impl IdentityStatus {
    /// What `keeper` says at this moment.
    pub fn of(keeper: &KeeperStatus) -> Self {
        Self {
            spiffe_id: keeper.spiffe_id.clone(),
            serial: keeper.serial.clone(),
            not_before: keeper.not_before.and_then(rfc3339),
            not_after: keeper.not_after.and_then(rfc3339),
            state: state_name(keeper.state),
            last_error: keeper.last_error.clone(),
            renewals: keeper.renewals,
            ca_reachable: keeper.ca_reachable,
            bundle_sequence: keeper.bundle_sequence,
        }
    }
}

/// The name of a state, as people read it.
pub const fn state_name(state: KeeperState) -> &'static str {
    match state {
        KeeperState::Waiting => "waiting",
        KeeperState::Valid => "valid",
        KeeperState::Failing => "failing",
    }
}

fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time)
        .ok()
        .map(|time| format!("{time:.0}"))
}

/// The same as metrics, read from the keeper whenever they are scraped.
#[derive(Debug)]
struct IdentityMetrics {
    keeper: watch::Receiver<KeeperStatus>,
    not_after: Gauge,
    ca_reachable: IntGauge,
    bundle_sequence: IntGauge,
    renewals: IntCounter,
    // Two scrapes at once must not count a renewal twice.
    scraping: Mutex<()>,
}

/// Shows in `registry` when the certificate ends, how often it was renewed, and whether the CA answers.
///
/// # Errors
/// When metrics of these names are registered already.
pub fn register(
    registry: &Registry,
    keeper: watch::Receiver<KeeperStatus>,
) -> Result<(), prometheus::Error> {
    registry.register(Box::new(IdentityMetrics {
        keeper,
        not_after: Gauge::new(
            "portcullis_certificate_not_after_timestamp_seconds",
            "When the workload's certificate ends, in seconds since 1970; 0 without one.",
        )?,
        ca_reachable: IntGauge::new(
            "portcullis_ca_reachable",
            "1 when the CA answered the last time it was asked, else 0.",
        )?,
        bundle_sequence: IntGauge::new(
            "portcullis_trust_bundle_sequence",
            "Sequence of the trust bundle in force.",
        )?,
        renewals: IntCounter::new(
            "portcullis_certificate_renewals_total",
            "Certificates received after the first.",
        )?,
        scraping: Mutex::new(()),
    }))
}

impl Collector for IdentityMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let keeper = self.keeper.borrow().clone();
        let ends = keeper
            .not_after
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let _one_at_a_time = self.scraping.lock();
        self.not_after.set(ends.unwrap_or_default().as_secs_f64());
        self.ca_reachable.set(i64::from(keeper.ca_reachable));
        self.bundle_sequence
            .set(i64::try_from(keeper.bundle_sequence).unwrap_or(i64::MAX));
        self.renewals
            .inc_by(keeper.renewals.saturating_sub(self.renewals.get()));
        let parts = self.parts().into_iter();
        parts.flat_map(Collector::collect).collect()
    }
}

impl IdentityMetrics {
    fn parts(&self) -> [&dyn Collector; 4] {
        [
            &self.not_after,
            &self.ca_reachable,
            &self.bundle_sequence,
            &self.renewals,
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_scrape_shows_the_keeper_as_it_is_now() {
        let status = |renewals, seconds| KeeperStatus {
            state: KeeperState::Valid,
            spiffe_id: None,
            serial: None,
            not_before: None,
            not_after: Some(UNIX_EPOCH + Duration::from_secs(seconds)),
            renewals,
            last_error: None,
            ca_reachable: true,
            bundle_sequence: 3,
        };
        let (sender, keeper) = watch::channel(status(0, 100));
        let registry = Registry::new();
        register(&registry, keeper).unwrap();
        let text = || {
            prometheus::TextEncoder::new()
                .encode_to_string(&registry.gather())
                .unwrap()
        };
        assert!(text().contains("portcullis_certificate_not_after_timestamp_seconds 100"));
        sender.send_replace(status(2, 200));
        let now = text();
        for line in [
            "portcullis_certificate_not_after_timestamp_seconds 200",
            "portcullis_certificate_renewals_total 2",
            "portcullis_ca_reachable 1",
            "portcullis_trust_bundle_sequence 3",
        ] {
            assert!(now.contains(line), "{line} in {now}");
        }
        assert_eq!(text(), now, "asking changes nothing");
    }
}
