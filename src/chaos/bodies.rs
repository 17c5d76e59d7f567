//! What the chaos API takes and tells, as JSON.

use std::time::Duration;

use dataplane::chaos::{ErrorType, Fault, LONGEST_DELAY, LONGEST_LIFE, Share};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How long a scenario holds when nobody says; chaos that is forgotten ends by itself.
pub(crate) const DEFAULT_LIFE: Duration = Duration::from_mins(5);

/// `POST /api/chaos/error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ErrorBody {
    /// `name` or `name.namespace`.
    pub(crate) service: String,
    /// From 0 to 1.
    pub(crate) error_rate: Share,
    #[serde(default = "default_error")]
    pub(crate) error_type: ErrorType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

/// `POST /api/chaos/latency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LatencyBody {
    /// `name` or `name.namespace`.
    pub(crate) service: String,
    pub(crate) delay_ms: u64,
    #[serde(default = "everybody")]
    pub(crate) probability: Share,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
}

const fn default_error() -> ErrorType {
    ErrorType::DEFAULT
}

const fn everybody() -> Share {
    Share::ALL
}

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// `name` or `name.namespace`.
    pub(crate) service: String,
    pub(crate) fault: Fault,
    pub(crate) lasts: Duration,
    pub(crate) seed: Option<u64>,
}

impl Asked {
    /// Reads the body of `POST /api/chaos/error`.
    pub(crate) fn error(body: &[u8]) -> Result<Self, Refusal> {
        let example = r#"{"service": "payment-service", "errorRate": 0.5}"#;
        let fields = "service, errorRate, errorType, durationSeconds, seed";
        let body: ErrorBody = read(body, fields, example)?;
        let fault = Fault::Error {
            rate: body.error_rate,
            error_type: body.error_type,
        };
        Self::new(body.service, fault, body.duration_seconds, body.seed)
    }

    /// Reads the body of `POST /api/chaos/latency`.
    pub(crate) fn latency(body: &[u8]) -> Result<Self, Refusal> {
        let example = r#"{"service": "inventory-service", "delayMs": 20000}"#;
        let fields = "service, delayMs, probability, durationSeconds, seed";
        let body: LatencyBody = read(body, fields, example)?;
        let longest = LONGEST_DELAY.as_millis();
        if u128::from(body.delay_ms) > longest {
            let message = format!(
                "`delayMs` is {}, expected at most {longest} (1 h)",
                body.delay_ms
            );
            return Err(Refusal::new(message));
        }
        let fault = Fault::Latency {
            delay_ms: body.delay_ms,
            probability: body.probability,
        };
        Self::new(body.service, fault, body.duration_seconds, body.seed)
    }

    fn new(
        service: String,
        fault: Fault,
        seconds: Option<u64>,
        seed: Option<u64>,
    ) -> Result<Self, Refusal> {
        let lasts = seconds.map_or(DEFAULT_LIFE, Duration::from_secs);
        if lasts.is_zero() || lasts > LONGEST_LIFE {
            let message = format!(
                "`durationSeconds` is {}, expected 1 to {} (24 h): chaos always ends by itself",
                lasts.as_secs(),
                LONGEST_LIFE.as_secs()
            );
            return Err(Refusal::new(message));
        }
        Ok(Self {
            service,
            fault,
            lasts,
            seed,
        })
    }
}

/// Bodies are JSON whatever the Content-Type says: `curl -d` alone sends that of a form.
fn read<T: DeserializeOwned>(body: &[u8], fields: &str, example: &str) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let what = runtime::escape::escape(&error.to_string(), 300).to_string();
        Refusal {
            help: Some(format!("the fields are: {fields}; for example {example}")),
            ..Refusal::new(if body.is_empty() {
                "the body is empty".to_owned()
            } else {
                format!("the body is not what is expected: {what}")
            })
        }
    })
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// The services that there are, where one was not found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) services: Vec<String>,
}

impl Refusal {
    pub(crate) const fn new(error: String) -> Self {
        Self {
            error,
            help: None,
            services: Vec::new(),
        }
    }
}

/// A scenario, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScenarioBody {
    pub(crate) id: String,
    pub(crate) service: String,
    pub(crate) namespace: String,
    /// `error` or `latency`.
    pub(crate) r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<Share>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_type: Option<ErrorType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probability: Option<Share>,
    pub(crate) duration_seconds: u64,
    pub(crate) remaining_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// The instances where it holds.
    pub(crate) instances: Vec<InstanceBody>,
}

impl ScenarioBody {
    /// What it does.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match (self.error_rate, self.delay_ms) {
            (Some(rate), _) => Some(Fault::Error {
                rate,
                error_type: self.error_type?,
            }),
            (None, Some(delay_ms)) => Some(Fault::Latency {
                delay_ms,
                probability: self.probability?,
            }),
            (None, None) => None,
        }
    }
}

/// One instance of a service that fails on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceBody {
    /// The workload's name.
    pub(crate) name: String,
    /// How many requests the scenario has struck there.
    pub(crate) struck: u64,
}

/// What a DELETE ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoppedBody {
    /// The services at which nothing holds any more.
    pub(crate) stopped: Vec<String>,
    /// How many scenarios that were.
    pub(crate) scenarios: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_bodies_mean_what_they_say() {
        let asked = Asked::error(br#"{"service": "payment-service", "errorRate": 1.0}"#).unwrap();
        assert_eq!(asked.service, "payment-service");
        assert_eq!(asked.fault.to_string(), "100 % HTTP_500");
        assert_eq!(asked.lasts, Duration::from_mins(5));
        let body = br#"{"service": "order-service", "delayMs": 20000, "probability": 1.0}"#;
        assert_eq!(
            Asked::latency(body).unwrap().fault.to_string(),
            "20s for 100 %"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (body, expected) in [
            ("", "the body is empty"),
            ("service=x", "expected value at line 1"),
            (r#"{"service":"x"}"#, "missing field `errorRate`"),
            (r#"{"service":"x","errorRate":30}"#, "from 0 to 1"),
            (
                r#"{"service":"x","errorRate":1,"rate":2}"#,
                "unknown field `rate`",
            ),
            (
                r#"{"service":"x","errorRate":1,"errorType":"OOPS"}"#,
                "HTTP_500",
            ),
            (
                r#"{"service":"x","errorRate":1,"durationSeconds":0}"#,
                "durationSeconds",
            ),
            (
                r#"{"service":"x","errorRate":1,"durationSeconds":99999999}"#,
                "24 h",
            ),
        ] {
            let refusal = Asked::error(body.as_bytes()).unwrap_err();
            assert!(refusal.error.contains(expected), "{body}: {refusal:?}");
        }
        let long = br#"{"service":"x","delayMs":3600001}"#;
        assert!(Asked::latency(long).unwrap_err().error.contains("1 h"));
        let help = Asked::error(b"{}").unwrap_err().help.unwrap();
        assert!(help.contains("payment-service"), "{help}");
    }
}
