//! Which outcomes a policy repeats, and after how long.

use proptest::prelude::*;

use super::*;

fn answered(status: u16) -> TryOutcome {
    TryOutcome::Answered { status, grpc: None }
}

fn grpc(code: u16) -> TryOutcome {
    TryOutcome::Answered {
        status: 200,
        grpc: Some(code),
    }
}

const UNSENT: TryOutcome = TryOutcome::Reset { sent: false };
const SENT: TryOutcome = TryOutcome::Reset { sent: true };

/// Each condition, what it holds for, and what not (Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on`).
#[test]
fn conditions_hold_as_in_envoy() {
    use TryOutcome::{ConnectFailure, PerTryTimeout, Refused};
    let broken = [ConnectFailure, Refused, UNSENT, SENT, PerTryTimeout];
    let table: &[(&str, &[TryOutcome], &[TryOutcome])] = &[
        (
            "5xx",
            &[answered(500), answered(501), answered(503), answered(599)],
            &[answered(499), answered(429)],
        ),
        ("5xx", &broken, &[grpc(14)]),
        (
            "gateway-error",
            &[answered(502), answered(503), answered(504)],
            &[answered(500), answered(501)],
        ),
        ("gateway-error", &broken, &[]),
        ("reset", &broken, &[answered(500), answered(503)]),
        (
            "reset-before-request",
            &[ConnectFailure, UNSENT],
            &[SENT, Refused, PerTryTimeout, answered(503)],
        ),
        (
            "connect-failure",
            &[ConnectFailure],
            &[SENT, UNSENT, Refused, answered(503)],
        ),
        (
            "refused-stream",
            &[Refused],
            &[SENT, ConnectFailure, answered(503)],
        ),
        (
            "retriable-4xx",
            &[answered(409)],
            &[answered(404), answered(429), answered(500)],
        ),
        (
            "retriable-status-codes",
            &[],
            &[answered(503), answered(500), SENT],
        ),
        ("retriable-headers", &[], &[answered(503), SENT]),
        (
            "429,retriable-status-codes",
            &[answered(429)],
            &[answered(503)],
        ),
        ("503", &[answered(503)], &[answered(502), SENT]),
        ("cancelled", &[grpc(1)], &[grpc(14), answered(503)]),
        ("deadline-exceeded", &[grpc(4)], &[grpc(1), PerTryTimeout]),
        ("resource-exhausted", &[grpc(8)], &[grpc(0)]),
        ("internal", &[grpc(13)], &[grpc(2)]),
        ("unavailable", &[grpc(14)], &[grpc(13), answered(503)]),
    ];
    for (text, yes, no) in table {
        let on: Vec<RetryOn> = text
            .split(',')
            .map(|on| RetryOn::parse(on).unwrap())
            .collect();
        let conditions = Conditions::new(&on);
        for outcome in *yes {
            assert!(conditions.hold(*outcome, false), "{text}: {outcome:?}");
        }
        for outcome in *no {
            assert!(!conditions.hold(*outcome, false), "{text}: {outcome:?}");
        }
        for never in [
            TryOutcome::Cancelled,
            TryOutcome::DeadlineExceeded,
            answered(200),
        ] {
            assert!(!conditions.hold(never, false), "{text}: {never:?}");
        }
        assert!(
            !conditions.hold(answered(503), true),
            "{text}: rate limited"
        );
    }
    let limited = Conditions::new(&[RetryOn::EnvoyRateLimited]);
    assert!(limited.hold(answered(429), true) && !limited.hold(answered(429), false));
}

#[test]
fn the_default_is_istio_s() {
    let RetryPolicy {
        attempts,
        on,
        per_try_timeout,
        asked,
        ..
    } = RetryPolicy::default();
    assert_eq!(
        (attempts, per_try_timeout, asked),
        (2, None, Asked::ByDefault)
    );
    for outcome in [
        TryOutcome::ConnectFailure,
        TryOutcome::Refused,
        grpc(1),
        grpc(14),
    ] {
        assert!(on.hold(outcome, false), "{outcome:?}");
    }
    for outcome in [
        answered(503),
        answered(500),
        SENT,
        UNSENT,
        TryOutcome::PerTryTimeout,
        grpc(4),
    ] {
        assert!(!on.hold(outcome, false), "{outcome:?}");
    }
}

#[test]
fn without_jitter_pauses_double() {
    let backoff = Backoff {
        jitter: Jitter::None,
        ..Backoff::default()
    };
    let millis: Vec<u128> = (1..=7)
        .map(|retry| backoff.pause(retry, 7).as_millis())
        .collect();
    assert_eq!(millis, [25, 50, 100, 200, 250, 250, 250]);
    let slow = Backoff {
        base: Duration::from_secs(1),
        jitter: Jitter::None,
    };
    assert_eq!(slow.pause(u32::MAX, 0), Duration::from_secs(10));
}

proptest! {
    #[test]
    fn with_jitter_a_pause_is_a_part_of_its_ceiling(
        base in 1_u64..5_000, retry in 1_u32..64, random in any::<u64>()
    ) {
        let backoff = Backoff { base: Duration::from_millis(base), jitter: Jitter::Full };
        let factor = 2_u64.saturating_pow(retry).saturating_sub(1).min(10);
        prop_assert!(backoff.pause(retry, random) <= Duration::from_millis(base * factor));
    }
}

/// The mean of many is half of the ceiling: 12.5, 37.5, 87.5 and 125 ms.
#[test]
fn jitter_is_full() {
    let backoff = Backoff::default();
    for (retry, ceiling) in [
        (1, 25_000),
        (2, 75_000),
        (3, 175_000),
        (4, 250_000),
        (9, 250_000),
    ] {
        let spread = u64::MAX / 10_007;
        let total: u128 = (0..10_000_u64)
            .map(|n| backoff.pause(retry, n.wrapping_mul(spread)).as_micros())
            .sum();
        let mean = total / 10_000;
        assert!(
            (mean * 2).abs_diff(ceiling) < ceiling / 10,
            "{retry}: {mean} of {ceiling}"
        );
    }
}
