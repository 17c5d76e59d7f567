//! How a HealthCheck is read.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use super::{HealthCheck, HealthCheckSettings, HealthProbe, HttpProbe, StatusRange};
use crate::decode::{
    Cursor, Decode, Document, Fields, HostText, NonEmpty, Port, Standing, is_host_name,
};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{Meta, Spanned};
use crate::schema::TextFormat;
use crate::yaml::{Value, shortened};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
const HEALTHY: u32 = 2;
const UNHEALTHY: u32 = 3;
/// Endpoints are not asked more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// Exactly one of them.
const PROBES: &[&str] = &["http", "grpc", "tcp"];
/// What the connection or the probe itself says.
const OWN_HEADERS: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
];

const STATUSES: TextFormat = TextFormat {
    pattern: r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
    expected: "a status or a range of them, such as `200` or `200-299`",
    longest: None,
};
const PATH: TextFormat = TextFormat {
    pattern: r"^/",
    expected: "a path that starts with `/`",
    longest: None,
};

impl Document for HealthCheck {
    const STANDING: Standing = Standing::InForce;

    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let host = f.required::<Spanned<HostText>>("host");
        let port = f.optional::<Spanned<Port>>("port");
        let interval = f.optional::<Interval>("interval");
        let timeout = f.optional("timeout");
        let healthy = f.optional::<Threshold>("healthyThreshold");
        let unhealthy = f.optional::<Threshold>("unhealthyThreshold");
        let http = f.optional("http").map(HealthProbe::Http);
        let grpc = f.get("grpc").and_then(|cursor| {
            cursor.fields(|f| {
                let service = f.optional("service").map(|NonEmpty(name)| name);
                let service = service.unwrap_or_default();
                Some(HealthProbe::Grpc { service })
            })
        });
        let tcp = f
            .get("tcp")
            .and_then(|cursor| cursor.fields(|_| Some(HealthProbe::Tcp)));
        f.exclusive(PROBES);
        f.any_of(PROBES);
        let settings = HealthCheckSettings {
            interval: interval.map_or(INTERVAL, |Interval(time)| time),
            timeout: timeout.unwrap_or(TIMEOUT),
            healthy_threshold: healthy.map_or(HEALTHY, |Threshold(checks)| checks),
            unhealthy_threshold: unhealthy.map_or(UNHEALTHY, |Threshold(checks)| checks),
            probe: http.or(grpc).or(tcp)?,
        };
        Some(Self {
            meta,
            host: host?.map(|HostText(host)| host),
            port: port.map(|port| port.map(|Port(port)| port)),
            settings: Arc::new(settings),
        })
    }
}

impl Decode for HttpProbe {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let path = f.required::<ProbePath>("path");
            let statuses = f.non_empty_if_there::<StatusRange>("expectedStatuses");
            let host = f.optional::<Authority>("host");
            let headers = headers(f);
            let mut expected_statuses = statuses?;
            if expected_statuses.is_empty() {
                expected_statuses.push(StatusRange {
                    first: 200,
                    last: 200,
                });
            }
            Some(Self {
                path: path?.0,
                expected_statuses,
                host: host.map(|Authority(host)| host),
                headers,
            })
        })
    }
}

/// `headers`, by name.
fn headers(f: &mut Fields<'_>) -> Vec<(String, String)> {
    let entries = f
        .get("headers")
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut headers = Vec::new();
    for (name, cursor) in entries {
        let Some(value) = cursor.text() else {
            continue;
        };
        let lower = name.to_ascii_lowercase();
        let problem = if HeaderName::try_from(lower.as_str()).is_err() {
            Some(format!("`{}` is not the name of a header", shortened(name)))
        } else if OWN_HEADERS.contains(&lower.as_str()) {
            Some(format!("`{lower}` is not a header that a check may set"))
        } else if HeaderValue::try_from(value).is_err() {
            Some(format!("`{lower}` has a value that no header can have"))
        } else {
            None
        };
        match problem {
            None => headers.push((lower, value.to_owned())),
            Some(message) => {
                let (at, path) = (cursor.key_at(), &cursor.path);
                let finding = Diagnostic::error(codes::INVALID_VALUE, at, path, message);
                let help = (lower == "host").then(|| "write `http.host`".to_owned());
                f.report(finding.with_help_if(help));
            }
        }
    }
    headers
}

/// `interval`.
struct Interval(Duration);

impl Decode for Interval {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match Duration::decode(cursor)? {
            time if time < SHORTEST_INTERVAL => cursor.invalid("a duration of at least 100ms"),
            time => Some(Self(time)),
        }
    }
}

/// How many checks in a row, at least one.
struct Threshold(u32);

impl Decode for Threshold {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u32::decode(cursor)? {
            0 => cursor.invalid("a number of checks of at least 1"),
            checks => Some(Self(checks)),
        }
    }
}

/// A path with or without query, as it goes over the wire.
struct ProbePath(String);

impl Decode for ProbePath {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(PATH));
        let text = cursor.text()?;
        let lawful = text.starts_with('/') && !text.contains('#');
        if lawful && PathAndQuery::try_from(text).is_ok() {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid("a path that starts with `/`, such as `/healthz`")
        }
    }
}

/// A Host header: a name or an address, with or without port.
struct Authority(String);

impl Decode for Authority {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let authority = text.parse::<http::uri::Authority>().ok();
        let good = authority.is_some_and(|authority| {
            let host = authority.host();
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let named = is_host_name(host) || bare.parse::<std::net::IpAddr>().is_ok();
            named && !text.contains('@')
        });
        if good {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid("a host, with or without port")
        }
    }
}

impl Decode for StatusRange {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| {
            // A single one is a number to YAML.
            shape.whole();
            shape.range(100.0, 599.0);
            shape.format(STATUSES);
        });
        let Value::Scalar { text, .. } = &cursor.node.value else {
            return cursor.mistyped("a status such as `200`, or a range such as `200-299`");
        };
        match Self::parse(text) {
            Some(range) => Some(range),
            None => cursor.invalid("a status such as `200`, or a range such as `200-299`"),
        }
    }
}
