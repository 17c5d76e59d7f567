//! What responses say about limits: `x-ratelimit-*` as everybody reads them, and the IETF's `RateLimit` fields
//! (draft-ietf-httpapi-ratelimit-headers-10).

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue};
use policies::rate_limit::{Limit, Standing};

use crate::ext_authz::HeaderChange;

static LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
static REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static STANDING: HeaderName = HeaderName::from_static("ratelimit");
static LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// What is told about a limit.
pub(super) struct Numbers<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// How many requests may come at once.
    pub(super) limit: u32,
    /// How many may come in a window.
    pub(super) quota: u128,
    /// The window, in seconds.
    pub(super) window: u64,
    /// How many may come now.
    pub(super) remaining: u32,
    /// Until that is `limit` again.
    pub(super) reset: Duration,
}

/// How a request's bucket stands.
pub(super) fn standing(limit: &Limit, standing: &Standing) -> Vec<HeaderChange> {
    let rate = &limit.rate;
    let interval = rate.interval();
    // The draft counts in whole seconds.
    let times = Duration::from_secs(1).as_nanos() / interval.as_nanos().max(1);
    numbers(&Numbers {
        name: &limit.name,
        limit: rate.burst(),
        quota: u128::from(rate.requests()) * times.max(1),
        window: seconds(interval).max(1),
        remaining: standing.remaining,
        reset: standing.reset,
    })
}

/// The headers.
pub(super) fn numbers(numbers: &Numbers<'_>) -> Vec<HeaderChange> {
    let Numbers {
        limit,
        quota,
        window,
        remaining,
        ..
    } = numbers;
    let name = quoted(numbers.name);
    let reset = seconds(numbers.reset);
    let set = |name: &HeaderName, value: String| {
        let value = HeaderValue::try_from(value).ok()?;
        Some(HeaderChange::Set(name.clone(), value))
    };
    let all = [
        set(&LIMIT, limit.to_string()),
        set(&REMAINING, remaining.to_string()),
        set(&RESET, reset.to_string()),
        set(&POLICY, format!("{name};q={quota};w={window}")),
        set(&STANDING, format!("{name};r={remaining};t={reset}")),
    ];
    all.into_iter().flatten().collect()
}

/// When it is worth to come back.
pub(super) fn retry_after(wait: Duration) -> (HeaderName, HeaderValue) {
    (RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)))
}

/// Envoy's word for a refusal by number.
pub(super) fn limited() -> (HeaderName, HeaderValue) {
    (LIMITED.clone(), HeaderValue::from_static("true"))
}

/// Headers that a document writes; read before, so none is lost.
pub(super) fn written(
    headers: &BTreeMap<String, String>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    })
}

/// Seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A name as a structured field's string (RFC 9651 section 3.3.3).
fn quoted(name: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '_',
        ' '..='~' => c,
        _ => '_',
    };
    let text: String = name.chars().map(plain).collect();
    format!("\"{text}\"")
}
