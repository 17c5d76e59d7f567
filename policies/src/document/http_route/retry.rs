//! Istio's `HTTPRetry`: when a request is sent again.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::decode::{Count, Cursor, Decode};
use crate::diagnostic::codes;
use crate::nearest::nearest;
use crate::yaml::shortened;

/// Istio's `HTTPRetry`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRetry {
    /// `attempts`: retries after the first try; 0, also if not given, is off.
    pub attempts: u32,
    /// `perTryTimeout`; the rule's timeout if not given.
    pub per_try_timeout: Option<Duration>,
    /// `retryOn`, split at commas; empty is Istio's default.
    pub retry_on: Vec<RetryOn>,
    /// `backoff`: the base interval, 25 ms if not given.
    pub backoff: Option<Duration>,
    /// `retryRemoteLocalities`; `false` if not given. Not in force.
    pub retry_remote_localities: Option<bool>,
    /// `retryIgnorePreviousHosts`; `true` if not given.
    pub retry_ignore_previous_hosts: Option<bool>,
}

/// One condition of `retryOn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryOn {
    /// `5xx`.
    ServerError,
    /// `gateway-error`: 502, 503, 504.
    GatewayError,
    /// `reset`.
    Reset,
    /// `reset-before-request`.
    ResetBeforeRequest,
    /// `connect-failure`.
    ConnectFailure,
    /// `retriable-4xx`: 409.
    Retriable4xx,
    /// `refused-stream`.
    RefusedStream,
    /// `retriable-status-codes`: the statuses in the same list.
    RetriableStatusCodes,
    /// `retriable-headers`.
    RetriableHeaders,
    /// `envoy-ratelimited`.
    EnvoyRateLimited,
    /// `http3-post-connect-failure`.
    Http3PostConnectFailure,
    /// `cancelled` (gRPC).
    Cancelled,
    /// `deadline-exceeded` (gRPC).
    DeadlineExceeded,
    /// `internal` (gRPC).
    Internal,
    /// `resource-exhausted` (gRPC).
    ResourceExhausted,
    /// `unavailable` (gRPC).
    Unavailable,
    /// A status, such as `503`.
    Status(u16),
}

impl RetryOn {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("5xx", Self::ServerError),
        ("gateway-error", Self::GatewayError),
        ("reset", Self::Reset),
        ("reset-before-request", Self::ResetBeforeRequest),
        ("connect-failure", Self::ConnectFailure),
        ("retriable-4xx", Self::Retriable4xx),
        ("refused-stream", Self::RefusedStream),
        ("retriable-status-codes", Self::RetriableStatusCodes),
        ("retriable-headers", Self::RetriableHeaders),
        ("envoy-ratelimited", Self::EnvoyRateLimited),
        ("http3-post-connect-failure", Self::Http3PostConnectFailure),
        ("cancelled", Self::Cancelled),
        ("deadline-exceeded", Self::DeadlineExceeded),
        ("internal", Self::Internal),
        ("resource-exhausted", Self::ResourceExhausted),
        ("unavailable", Self::Unavailable),
    ];

    /// A condition by its name, or a status that HTTP knows.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((_, found)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Some(*found);
        }
        let status = StatusCode::from_bytes(text.as_bytes()).ok()?;
        status.canonical_reason()?;
        Some(Self::Status(status.as_u16()))
    }
}

/// As written in `retryOn`.
impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, Self::NAMES.iter().find(|(_, found)| found == self)) {
            (Self::Status(status), _) => status.fmt(f),
            (_, Some((name, _))) => f.write_str(name),
            (_, None) => Ok(()),
        }
    }
}

impl Decode for HttpRetry {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let attempts = f.optional::<Count>("attempts");
            let retry = Self {
                attempts: attempts.map_or(0, |Count(attempts)| attempts),
                per_try_timeout: f.optional("perTryTimeout"),
                retry_on: f
                    .optional::<Conditions>("retryOn")
                    .map_or_else(Vec::new, |Conditions(conditions)| conditions),
                backoff: f.optional("backoff"),
                retry_remote_localities: f.later(
                    "retryRemoteLocalities",
                    codes::FIELD_NOT_IN_FORCE,
                    "retries follow the order of the load balancer, which avoids endpoints and not localities",
                ),
                retry_ignore_previous_hosts: f.optional("retryIgnorePreviousHosts"),
            };
            let about = ["perTryTimeout", "retryOn", "retryRemoteLocalities"];
            if let Some(field) = about.into_iter().find(|field| f.has(field)) {
                if !f.has("attempts") {
                    let message = format!("`{field}` without `attempts`: there are no retries");
                    let help = "add `attempts: 2`";
                    f.error_at("attempts", codes::MISSING_FIELD, message, Some(help));
                } else if attempts == Some(Count(0)) {
                    let message = format!("`{field}` with 0 attempts: there are no retries");
                    let help = "raise `attempts`, or remove the other fields";
                    f.error_at(field, codes::EXCLUSIVE_FIELDS, message, Some(help));
                }
            }
            Some(retry)
        })
    }
}

struct Conditions(Vec<RetryOn>);

impl Decode for Conditions {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let mut conditions = Vec::new();
        for name in cursor.text()?.split(',').map(str::trim) {
            if let Some(condition) = RetryOn::parse(name) {
                conditions.push(condition);
                continue;
            }
            let names = RetryOn::NAMES.iter().map(|(name, _)| *name);
            let help = nearest(name, names).map_or_else(
                || "write conditions such as `5xx,connect-failure`, or statuses".to_owned(),
                |name| format!("did you mean `{name}`?"),
            );
            let message = format!("`{}` is not a condition for a retry", shortened(name));
            cursor.error(codes::UNKNOWN_VALUE, message, Some(help));
        }
        Some(Self(conditions))
    }
}
