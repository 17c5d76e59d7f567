//! What must hold of a step's answers, and what does not.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dataplane::chaos::Share;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use super::file::ShareText;
use super::load::Measured;

/// Every assertion of a step; all must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expect {
    /// The share of answers with a status of 200 to 399.
    success_rate: Option<ShareRange>,
    /// How many answers have a status; `none` is a request without an answer.
    #[serde(default)]
    statuses: BTreeMap<StatusName, CountRange>,
    /// What the latencies do not exceed.
    #[serde(default)]
    latency: LatencyLimits,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareRange {
    min: Option<ShareText>,
    max: Option<ShareText>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountRange {
    min: Option<usize>,
    max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LatencyLimits {
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    p50: Option<Duration>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    p90: Option<Duration>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    p99: Option<Duration>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    max: Option<Duration>,
}

/// A status, or `none` for no answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StatusName(String);

impl<'de> Deserialize<'de> for StatusName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StatusReader)
    }
}

struct StatusReader;

impl Visitor<'_> for StatusReader {
    type Value = StatusName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as `503`, or `none`")
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<StatusName, E> {
        if (100..600).contains(&status) {
            Ok(StatusName(status.to_string()))
        } else {
            Err(E::invalid_value(de::Unexpected::Unsigned(status), &self))
        }
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<StatusName, E> {
        self.visit_u64(u64::try_from(status).unwrap_or(u64::MAX))
    }

    fn visit_str<E: de::Error>(self, status: &str) -> Result<StatusName, E> {
        match status.parse() {
            Ok(status) => self.visit_u64(status),
            Err(_) if status == "none" => Ok(StatusName(status.to_owned())),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(status), &self)),
        }
    }
}

impl Expect {
    /// Each assertion that does not hold, in words.
    pub(super) fn failures(&self, measured: &Measured) -> Vec<String> {
        let mut failures = Vec::new();
        if let Some(range) = self.success_rate {
            let rate = measured.success_rate;
            let shown = Share::try_from(rate).unwrap_or(Share::ALL);
            if let Some(min) = range.min.map(ShareText::get).filter(|min| rate < min.get()) {
                failures.push(format!("success rate is {shown}, expected at least {min}"));
            }
            if let Some(max) = range.max.map(ShareText::get).filter(|max| rate > max.get()) {
                failures.push(format!("success rate is {shown}, expected at most {max}"));
            }
        }
        for (StatusName(status), range) in &self.statuses {
            let found = measured.statuses.get(status).copied().unwrap_or(0);
            if let Some(min) = range.min.filter(|min| found < *min) {
                failures.push(format!("{found} × {status}, expected at least {min}"));
            }
            if let Some(max) = range.max.filter(|max| found > *max) {
                failures.push(format!("{found} × {status}, expected at most {max}"));
            }
        }
        let took = &measured.latency_ms;
        for (name, found, limit) in [
            ("p50", took.p50, self.latency.p50),
            ("p90", took.p90, self.latency.p90),
            ("p99", took.p99, self.latency.p99),
            ("max", took.max, self.latency.max),
        ] {
            let found = Duration::from_secs_f64(found / 1000.0);
            if let Some(limit) = limit.filter(|limit| found > *limit) {
                failures.push(format!("{name} is {found:.1?}, expected at most {limit:?}"));
            }
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let ms = Duration::from_millis;
        Measured::of(vec![
            (Some(200), ms(10)),
            (Some(204), ms(20)),
            (Some(503), ms(30)),
            (None, ms(2000)),
        ])
    }

    #[test]
    fn each_assertion_is_told_when_it_fails() {
        for (expect, failures) in [
            ("{}", vec![]),
            ("{successRate: {min: 50%, max: 0.5}}", vec![]),
            (
                "{successRate: {min: 99%}}",
                vec!["success rate is 50 %, expected at least 99 %"],
            ),
            (
                "{successRate: {max: 0}}",
                vec!["success rate is 50 %, expected at most 0 %"],
            ),
            (
                "{statuses: {503: {min: 1, max: 1}, none: {min: 1}}}",
                vec![],
            ),
            (
                "{statuses: {503: {min: 2}, 500: {min: 1}, none: {max: 0}}}",
                vec![
                    "0 × 500, expected at least 1",
                    "1 × 503, expected at least 2",
                    "1 × none, expected at most 0",
                ],
            ),
            ("{latency: {p50: 30ms, max: 3s}}", vec![]),
            (
                "{latency: {max: 1s}}",
                vec!["max is 2.0s, expected at most 1s"],
            ),
        ] {
            let expect: Expect = serde_saphyr::from_str(expect).unwrap();
            assert_eq!(expect.failures(&measured()), failures);
        }
        serde_saphyr::from_str::<Expect>("{statuses: {often: {min: 1}}}").unwrap_err();
        serde_saphyr::from_str::<Expect>("{latency: {p42: 1s}}").unwrap_err();
    }
}
