//! HealthCheck (`portcullis.dev`): how proxies ask the endpoints of a service whether they are well.

mod schema;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Meta, Spanned};

/// Active checks of the endpoints of one service, by every proxy that calls it.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// What it is called.
    pub meta: Meta,
    /// `host`: the service, as destinations name it.
    pub host: Spanned<String>,
    /// `port` of the service; none: every port that `probe` can be about.
    pub port: Option<Spanned<u16>>,
    /// How and how often.
    pub settings: Arc<HealthCheckSettings>,
}

/// How endpoints are checked, and what makes them healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSettings {
    /// `interval` between two checks of an endpoint, default 10 s.
    pub interval: Duration,
    /// `timeout` of one check, connecting included, default 2 s.
    pub timeout: Duration,
    /// `healthyThreshold`: checks passed in a row that make an unhealthy endpoint healthy, default 2.
    pub healthy_threshold: u32,
    /// `unhealthyThreshold`: checks failed in a row that make a healthy endpoint unhealthy, default 3.
    pub unhealthy_threshold: u32,
    /// What is asked.
    pub probe: HealthProbe,
}

/// Exactly one of `http`, `grpc` and `tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthProbe {
    /// `http`: a GET.
    Http(HttpProbe),
    /// `grpc`: the gRPC health protocol (`grpc.health.v1.Health/Check`).
    Grpc {
        /// `service`: its full name; empty for the whole server.
        service: String,
    },
    /// `tcp`: a connection, with its TLS handshake where the service is called by TLS.
    Tcp,
}

/// `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// `path`, with its query if there is one.
    pub path: String,
    /// `expectedStatuses`: those of a healthy endpoint, default 200 alone.
    pub expected_statuses: Vec<StatusRange>,
    /// `host`: the Host header, default the service's host.
    pub host: Option<String>,
    /// `headers`, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Statuses from one to another, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl HealthProbe {
    /// Whether the port has to speak HTTP.
    pub const fn needs_http(&self) -> bool {
        matches!(self, Self::Http(_) | Self::Grpc { .. })
    }
}

impl HttpProbe {
    /// Whether an endpoint that answers so is well.
    pub fn expects(&self, status: u16) -> bool {
        let mut ranges = self.expected_statuses.iter();
        ranges.any(|range| range.holds(status))
    }
}

impl StatusRange {
    /// Whether a status lies in it.
    pub const fn holds(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }

    /// `200` or `200-299`.
    fn parse(text: &str) -> Option<Self> {
        let status = |text: &str| -> Option<u16> {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            let status = digits.then(|| text.parse().ok()).flatten();
            status.filter(|status| (100..=599).contains(status))
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (status(first)?, status(last)?);
        (first <= last).then_some(Self { first, last })
    }
}

/// As documents write it.
impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// `GET /healthz`, `grpc my.Service` or `tcp`, for operators.
impl fmt::Display for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => write!(f, "GET {}", http.path),
            Self::Grpc { service } if service.is_empty() => f.write_str("grpc"),
            Self::Grpc { service } => write!(f, "grpc {service}"),
            Self::Tcp => f.write_str("tcp"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_statuses() {
        for (text, first, last) in [("200", 200, 200), ("200-299", 200, 299), ("599", 599, 599)] {
            let range = StatusRange::parse(text).unwrap();
            assert_eq!((range.first, range.last), (first, last));
            assert_eq!(range.to_string(), text);
            assert!(range.holds(first) && range.holds(last));
            assert!(!range.holds(first - 1) && !range.holds(last + 1));
        }
        for text in [
            "",
            "20",
            "099",
            "600",
            "299-200",
            "200-",
            "-200",
            "200-204-206",
            "2xx",
            "+20",
        ] {
            assert_eq!(StatusRange::parse(text), None, "{text}");
        }
    }
}
