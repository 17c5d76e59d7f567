//! A route's retry policy, compiled: after which endings a request is sent again, how often, and after which pause.

use std::time::Duration;

use super::TryOutcome;
use crate::document::RetryOn;

/// The base of the pauses where a document gives none (Envoy's).
const BASE: Duration = Duration::from_millis(25);
/// The longest pause, as a multiple of the base (Envoy's).
const LONGEST: u32 = 10;

/// A route's retry policy, compiled (Istio's `HTTPRetry`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent again after the first try (`attempts`); 0 is never.
    pub attempts: u32,
    /// After which endings (`retryOn`).
    pub on: Conditions,
    /// How long one try may take to the response's head (`perTryTimeout`).
    pub per_try_timeout: Option<Duration>,
    /// The pauses before the retries (`backoff`).
    pub backoff: Backoff,
    /// Which requests may be repeated once they may have taken effect.
    pub repeats: Repeats,
    /// Whether a retry goes where the request has failed already (`retryIgnorePreviousHosts`).
    pub previous_hosts: PreviousHosts,
    /// Who wants the retries.
    pub asked: Asked,
}

/// Which requests are repeated although they may have taken effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Those of idempotent methods (RFC 9110 §9.2.2) and those with an `Idempotency-Key`.
    #[default]
    Idempotent,
    /// Every request (annotation `portcullis.dev/retry-non-idempotent: "true"`).
    Everything,
}

/// Whether endpoints that were tried already may be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreviousHosts {
    /// Only when no other is left.
    #[default]
    Avoided,
    /// Like every other (`retryIgnorePreviousHosts: false`).
    Welcome,
}

/// Who wants the retries; it decides how many there may be ([`Budget`](super::Budget)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nobody: they are Istio's default.
    #[default]
    ByDefault,
    /// A document: the route's `retries`, or the mesh's `defaultHttpRetryPolicy`.
    ByDocument,
}

/// Istio's policy for routes that say nothing.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: Conditions::default(),
            per_try_timeout: None,
            backoff: Backoff::default(),
            repeats: Repeats::default(),
            previous_hosts: PreviousHosts::default(),
            asked: Asked::default(),
        }
    }
}

impl RetryPolicy {
    /// No retries.
    pub fn off() -> Self {
        Self {
            attempts: 0,
            ..Self::default()
        }
    }

    /// Istio's policy between a sidecar and its own application: only what never left is sent again.
    pub fn inbound() -> Self {
        Self {
            on: Conditions::new(&[RetryOn::ResetBeforeRequest]),
            ..Self::default()
        }
    }
}

/// The conditions of `retryOn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    named: u32,
    statuses: Box<[u16]>,
}

/// Istio's `connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes`, without statuses.
impl Default for Conditions {
    fn default() -> Self {
        Self::new(&[
            RetryOn::ConnectFailure,
            RetryOn::RefusedStream,
            RetryOn::Unavailable,
            RetryOn::Cancelled,
            RetryOn::RetriableStatusCodes,
        ])
    }
}

impl Conditions {
    /// The conditions as a document lists them.
    pub fn new(on: &[RetryOn]) -> Self {
        let statuses = on.iter().filter_map(|on| match on {
            RetryOn::Status(status) => Some(*status),
            _ => None,
        });
        Self {
            named: on.iter().fold(0, |named, on| named | bit(*on)),
            statuses: statuses.collect(),
        }
    }

    /// Whether a condition is among them.
    pub fn has(&self, on: RetryOn) -> bool {
        match on {
            RetryOn::Status(status) => self.statuses.contains(&status),
            on => self.named & bit(on) != 0,
        }
    }

    /// Whether a try that ended so is to be repeated. `rate_limited`: the answer bears `x-envoy-ratelimited`, and then
    /// only `envoy-ratelimited` counts. As Envoy (`RetryStateImpl`), a connection that broke counts as a 5xx.
    pub(super) fn hold(&self, outcome: TryOutcome, rate_limited: bool) -> bool {
        let any = |on: &[RetryOn]| on.iter().any(|on| self.has(*on));
        match outcome {
            TryOutcome::Answered { .. } if rate_limited => self.has(RetryOn::EnvoyRateLimited),
            TryOutcome::Answered { status, grpc } => {
                matches!(status, 500..600) && self.has(RetryOn::ServerError)
                    || matches!(status, 502..=504) && self.has(RetryOn::GatewayError)
                    || status == 409 && self.has(RetryOn::Retriable4xx)
                    || self.statuses.contains(&status)
                    || grpc.and_then(condition_of).is_some_and(|on| self.has(on))
            }
            TryOutcome::ConnectFailure => {
                any(&BROKEN) || any(&[RetryOn::ConnectFailure, RetryOn::ResetBeforeRequest])
            }
            TryOutcome::Refused => any(&BROKEN) || self.has(RetryOn::RefusedStream),
            TryOutcome::Reset { sent } => {
                any(&BROKEN) || !sent && self.has(RetryOn::ResetBeforeRequest)
            }
            TryOutcome::PerTryTimeout => any(&BROKEN),
            TryOutcome::DeadlineExceeded | TryOutcome::Cancelled => false,
        }
    }

    /// Whether a document that names its conditions means this answer as a gRPC one: every call of gRPC is a POST, so the
    /// method says nothing about it.
    pub(super) fn names_grpc(&self, outcome: TryOutcome) -> bool {
        let TryOutcome::Answered {
            grpc: Some(code), ..
        } = outcome
        else {
            return false;
        };
        condition_of(code).is_some_and(|on| self.has(on))
    }
}

/// What a try without an answer counts as.
const BROKEN: [RetryOn; 3] = [RetryOn::Reset, RetryOn::ServerError, RetryOn::GatewayError];

/// The condition of a gRPC status.
const fn condition_of(code: u16) -> Option<RetryOn> {
    Some(match code {
        1 => RetryOn::Cancelled,
        4 => RetryOn::DeadlineExceeded,
        8 => RetryOn::ResourceExhausted,
        13 => RetryOn::Internal,
        14 => RetryOn::Unavailable,
        _ => return None,
    })
}

const fn bit(on: RetryOn) -> u32 {
    match on {
        RetryOn::ServerError => 1,
        RetryOn::GatewayError => 1 << 1,
        RetryOn::Reset => 1 << 2,
        RetryOn::ResetBeforeRequest => 1 << 3,
        RetryOn::ConnectFailure => 1 << 4,
        RetryOn::Retriable4xx => 1 << 5,
        RetryOn::RefusedStream => 1 << 6,
        RetryOn::RetriableStatusCodes => 1 << 7,
        RetryOn::RetriableHeaders => 1 << 8,
        RetryOn::EnvoyRateLimited => 1 << 9,
        RetryOn::Http3PostConnectFailure => 1 << 10,
        RetryOn::Cancelled => 1 << 11,
        RetryOn::DeadlineExceeded => 1 << 12,
        RetryOn::Internal => 1 << 13,
        RetryOn::ResourceExhausted => 1 << 14,
        RetryOn::Unavailable => 1 << 15,
        RetryOn::Status(_) => 0,
    }
}

/// The pauses before retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// `backoff`; 25 ms if not given.
    pub base: Duration,
    /// How much of a pause is chance.
    pub jitter: Jitter,
}

/// How much of a pause is chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// All of it, as Envoy: callers that failed together come back apart.
    #[default]
    Full,
    /// Nothing (annotation `portcullis.dev/retry-jitter: none`): the base, doubled each time.
    None,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: BASE,
            jitter: Jitter::default(),
        }
    }
}

impl Backoff {
    /// The pause before the `retry`-th retry, counted from 1; never longer than ten times the base.
    ///
    /// With jitter a random part of (2^n − 1) × base, without it 2^(n−1) × base.
    pub fn pause(&self, retry: u32, random: u64) -> Duration {
        let most = self.base.saturating_mul(LONGEST);
        let doubled = |times: u32| 2_u32.checked_pow(times).unwrap_or(u32::MAX);
        match self.jitter {
            Jitter::None => {
                let factor = doubled(retry.saturating_sub(1));
                self.base.saturating_mul(factor).min(most)
            }
            Jitter::Full => {
                let factor = doubled(retry).saturating_sub(1);
                let ceiling = self.base.saturating_mul(factor).min(most);
                let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX - 1);
                Duration::from_nanos(random.checked_rem(nanos + 1).unwrap_or(0))
            }
        }
    }
}

#[cfg(test)]
mod tests;
