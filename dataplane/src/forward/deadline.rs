//! One deadline through every hop, as headers say it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use policies::resilience::{
    DeadlineScope, TryTime, as_grpc_timeout, as_millis, expected_timeout, grpc_timeout,
};
use tokio::time::Instant;

use super::Told;

/// How long the caller waits for this try, in milliseconds; Envoy's name for it.
pub static EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
/// Which try of its request this is, counted from 1; Envoy's name for it.
pub static ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
/// How long a caller of gRPC waits.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The moment by which a request that came at `begun` has to be over: the route's timeout, what the hop before said is
/// left (unless the route is out of its `scope`), and a caller's `grpc-timeout`; the earliest of them.
///
/// The edge has taken away what strangers say in `x-envoy-expected-rq-timeout-ms`
/// ([`strip_edge`](crate::headers::strip_edge)).
pub fn deadline(
    timeout: Option<Duration>,
    scope: DeadlineScope,
    headers: &HeaderMap,
    begun: Instant,
) -> Option<Instant> {
    let said = |name: &HeaderName, read: fn(&str) -> Option<Duration>| {
        read(headers.get(name)?.to_str().ok()?)
    };
    let left = match scope {
        DeadlineScope::Shared => said(&EXPECTED_TIMEOUT, expected_timeout),
        DeadlineScope::Own => None,
    };
    let limits = [timeout, left, said(&GRPC_TIMEOUT, grpc_timeout)];
    limits
        .into_iter()
        .flatten()
        .min()
        .and_then(|limit| begun.checked_add(limit))
}

/// Tells the next hop which try this is and how long it is waited for.
pub(super) fn tell(headers: &mut HeaderMap, told: Told, attempt: u32, time: TryTime) {
    if told == Told::Nothing {
        return;
    }
    if told == Told::Everything {
        headers.insert(&ATTEMPT_COUNT, HeaderValue::from(attempt));
    }
    let Some(time) = time.shortest() else {
        headers.remove(&EXPECTED_TIMEOUT);
        return;
    };
    headers.insert(&EXPECTED_TIMEOUT, HeaderValue::from(as_millis(time)));
    if headers.contains_key(&GRPC_TIMEOUT)
        && let Ok(left) = HeaderValue::try_from(as_grpc_timeout(time))
    {
        headers.insert(&GRPC_TIMEOUT, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    #[tokio::test]
    async fn the_earliest_holds() {
        let begun = Instant::now();
        let expected = "x-envoy-expected-rq-timeout-ms";
        for (timeout, scope, said, left) in [
            (None, DeadlineScope::Shared, headers(&[]), None),
            (Some(900), DeadlineScope::Shared, headers(&[]), Some(900)),
            (
                Some(900),
                DeadlineScope::Shared,
                headers(&[(expected, "300")]),
                Some(300),
            ),
            (
                Some(200),
                DeadlineScope::Shared,
                headers(&[(expected, "300")]),
                Some(200),
            ),
            (
                None,
                DeadlineScope::Shared,
                headers(&[(expected, "300")]),
                Some(300),
            ),
            (
                Some(900),
                DeadlineScope::Own,
                headers(&[(expected, "300")]),
                Some(900),
            ),
            (
                None,
                DeadlineScope::Own,
                headers(&[(expected, "300")]),
                None,
            ),
            (
                Some(900),
                DeadlineScope::Own,
                headers(&[("grpc-timeout", "100m")]),
                Some(100),
            ),
            (
                None,
                DeadlineScope::Shared,
                headers(&[("grpc-timeout", "nonsense"), (expected, "-5")]),
                None,
            ),
        ] {
            let found = deadline(timeout.map(MILLIS), scope, &said, begun);
            assert_eq!(found, left.map(|left| begun + MILLIS(left)), "{said:?}");
        }
    }

    #[test]
    fn the_next_hop_is_told() {
        let time = |per_try: Option<u64>, remaining: Option<u64>| TryTime {
            per_try: per_try.map(MILLIS),
            remaining: remaining.map(MILLIS),
        };
        let mut said = headers(&[
            ("x-envoy-expected-rq-timeout-ms", "9"),
            ("grpc-timeout", "1H"),
        ]);
        tell(&mut said, Told::Everything, 2, time(Some(250), Some(1_000)));
        assert_eq!(said["x-envoy-attempt-count"], "2");
        assert_eq!(said["x-envoy-expected-rq-timeout-ms"], "250");
        assert_eq!(said["grpc-timeout"], "250000u");
        tell(&mut said, Told::Deadline, 3, time(None, Some(1_000)));
        assert_eq!(said["x-envoy-attempt-count"], "2");
        assert_eq!(said["x-envoy-expected-rq-timeout-ms"], "1000");
        // What nobody bounds is not said to be bounded.
        tell(&mut said, Told::Everything, 1, time(None, None));
        assert!(!said.contains_key("x-envoy-expected-rq-timeout-ms"));
        let mut own = HeaderMap::new();
        tell(&mut own, Told::Nothing, 1, time(Some(1), None));
        assert!(own.is_empty());
    }
}
