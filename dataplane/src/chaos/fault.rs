//! What a chaos scenario does, as it is written on the wire: an error or a delay, and for which share of requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// The longest delay that can be injected.
pub const LONGEST_DELAY: Duration = Duration::from_hours(1);

/// One thing that goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[serde(deny_unknown_fields)]
pub enum Fault {
    /// A share of the requests fails.
    Error {
        /// Which share.
        rate: Share,
        /// How.
        error_type: ErrorType,
    },
    /// A share of the requests waits before it reaches the application.
    Latency {
        /// For how long, in milliseconds; at most [`LONGEST_DELAY`].
        delay_ms: u64,
        /// Which share.
        probability: Share,
    },
}

impl Fault {
    /// Whether both are of one kind: a service has at most one of each.
    pub const fn is_like(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Error { .. }, Self::Error { .. }) | (Self::Latency { .. }, Self::Latency { .. })
        )
    }

    /// `error` or `latency`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Latency { .. } => "latency",
        }
    }
}

/// For people: `50 % HTTP_503`, `20s for 100 %`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { rate, error_type } => write!(f, "{rate} {error_type}"),
            Self::Latency {
                delay_ms,
                probability,
            } => {
                let delay = Duration::from_millis(*delay_ms);
                write!(f, "{delay:?} for {probability}")
            }
        }
    }
}

/// A share of requests, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Share {
    /// Every request.
    pub const ALL: Self = Self(1.0);

    /// The share as a number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether a random number falls into the share: of all numbers, this share does.
    pub fn holds(self, random: u64) -> bool {
        let drawn = u32::try_from(random >> 32).unwrap_or(u32::MAX);
        f64::from(drawn) < self.0 * (f64::from(u32::MAX) + 1.0)
    }
}

/// A share must be a number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("expected a share from 0 to 1 (0.3 is 30 %), found `{0}`")]
pub struct NoShare(f64);

impl TryFrom<f64> for Share {
    type Error = NoShare;

    fn try_from(share: f64) -> Result<Self, NoShare> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(NoShare(share))
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// `0.3` or `30%`.
impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, of) = match text.trim().strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 100.0),
            None => (text.trim(), 1.0),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("expected a share such as `0.3` or `30%`, found `{text}`"))?;
        Self::try_from(number / of).map_err(|error| error.to_string())
    }
}

/// For people: `30 %`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two places suffice, and `29.999999999999996 %` helps nobody.
        let percent = (self.0 * 10_000.0).round() / 100.0;
        write!(f, "{percent} %")
    }
}

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ErrorType {
    /// `HTTP_500` and the like: an answer with this status, 400 to 599. gRPC callers get the status that stands for it.
    Status(StatusCode),
    /// `RESET`: no answer; the stream is reset, an HTTP/1.1 connection closed.
    Reset,
    /// `ABORT`: an answer with status 200 begins and breaks off.
    Abort,
    /// `TIMEOUT`: no answer, until the caller gives up or the scenario ends.
    Timeout,
}

impl ErrorType {
    /// What it is when nobody says.
    pub const DEFAULT: Self = Self::Status(StatusCode::INTERNAL_SERVER_ERROR);
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "HTTP_{}", status.as_u16()),
            Self::Reset => f.write_str("RESET"),
            Self::Abort => f.write_str("ABORT"),
            Self::Timeout => f.write_str("TIMEOUT"),
        }
    }
}

impl FromStr for ErrorType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "RESET" => return Ok(Self::Reset),
            "ABORT" => return Ok(Self::Abort),
            "TIMEOUT" => return Ok(Self::Timeout),
            _ => {}
        }
        let code = text.strip_prefix("HTTP_").filter(|code| code.len() == 3);
        code.and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok())
            .filter(|status| status.is_client_error() || status.is_server_error())
            .map(Self::Status)
            .ok_or_else(|| {
                let shown = runtime::escape::escape(text, 64);
                format!(
                    "expected an error type such as `HTTP_500` (400 to 599), `RESET`, `ABORT` or `TIMEOUT`, found `{shown}`"
                )
            })
    }
}

impl TryFrom<String> for ErrorType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ErrorType> for String {
    fn from(error_type: ErrorType) -> Self {
        error_type.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_percentages() {
        for (text, share) in [
            ("0.3", 0.3),
            ("30%", 0.3),
            ("30 %", 0.3),
            ("1", 1.0),
            ("0", 0.0),
            ("100%", 1.0),
        ] {
            assert_eq!(text.parse::<Share>().unwrap(), Share(share), "{text}");
        }
        for text in ["1.5", "-0.1", "150%", "NaN", "often", ""] {
            text.parse::<Share>().unwrap_err();
        }
        assert_eq!(Share(0.3).to_string(), "30 %");
        assert_eq!(Share(0.125).to_string(), "12.5 %");
    }

    #[test]
    fn a_share_of_all_numbers_falls_into_it() {
        assert!(Share::ALL.holds(u64::MAX) && Share::ALL.holds(0));
        assert!(!Share(0.0).holds(0) && !Share(0.0).holds(u64::MAX));
        assert!(Share(0.5).holds(u64::MAX / 2 - 1) && !Share(0.5).holds(u64::MAX / 2 + 1));
    }

    #[test]
    fn error_types_have_names() {
        for name in [
            "HTTP_500", "HTTP_404", "HTTP_599", "RESET", "ABORT", "TIMEOUT",
        ] {
            assert_eq!(name.parse::<ErrorType>().unwrap().to_string(), name);
        }
        for name in [
            "HTTP_200",
            "HTTP_50",
            "HTTP_5000",
            "500",
            "reset",
            "HTTP_+50",
            "",
        ] {
            let error = name.parse::<ErrorType>().unwrap_err();
            assert!(error.contains("HTTP_500"), "{error}");
        }
    }

    #[test]
    fn the_wire_is_strict() {
        let text = r#"{"error":{"rate":0.5,"errorType":"HTTP_503"}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&fault).unwrap(), text);
        assert_eq!(fault.to_string(), "50 % HTTP_503");
        for wrong in [
            r#"{"error":{"rate":2,"errorType":"HTTP_503"}}"#,
            r#"{"error":{"rate":1,"errorType":"HTTP_503","more":1}}"#,
            r#"{"latency":{"delayMs":-1,"probability":1}}"#,
        ] {
            serde_json::from_str::<Fault>(wrong).unwrap_err();
        }
    }
}
