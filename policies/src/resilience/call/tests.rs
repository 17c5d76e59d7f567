//! Calls as timelines: tries, deadlines and budgets, with time as an argument.

use proptest::prelude::*;

use super::super::{Asked, Backoff, Conditions, Jitter, PreviousHosts};
use super::*;
use crate::document::RetryOn;

fn at(millis: u64) -> Moment {
    Moment::after_start(Duration::from_millis(millis))
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn policy(attempts: u32, on: &str) -> RetryPolicy {
    let on: Vec<RetryOn> = on
        .split(',')
        .map(|on| RetryOn::parse(on).unwrap())
        .collect();
    RetryPolicy {
        attempts,
        on: Conditions::new(&on),
        per_try_timeout: None,
        backoff: Backoff {
            base: ms(25),
            jitter: Jitter::None,
        },
        repeats: Repeats::Idempotent,
        previous_hosts: PreviousHosts::Avoided,
        asked: Asked::ByDocument,
    }
}

fn answered(status: u16) -> Ended {
    Ended::new(TryOutcome::Answered { status, grpc: None })
}

fn grpc(code: u16) -> Ended {
    Ended::new(TryOutcome::Answered {
        status: 200,
        grpc: Some(code),
    })
}

fn ended(outcome: TryOutcome) -> Ended {
    Ended::new(outcome)
}

/// What follows one try of a request.
fn after(policy: &RetryPolicy, effect: Effect, ended: &Ended) -> Next {
    let mut call = Call::new(policy, effect, None);
    call.begin(at(0)).unwrap();
    call.ended(ended, at(1), 0)
}

#[test]
fn attempts_are_retries() {
    let policy = policy(3, "5xx");
    let mut call = Call::new(&policy, Effect::Idempotent, None);
    let mut now = 0;
    let mut begun = Vec::new();
    loop {
        assert!(call.begin(at(now)).is_some());
        begun.push(now);
        match call.ended(&answered(500), at(now), 0) {
            Next::Retry(pause) => now += u64::try_from(pause.as_millis()).unwrap(),
            next => {
                assert_eq!(next, Next::Done(Halt::Exhausted));
                break;
            }
        }
    }
    // Gaps of 25, 50 and 100 ms.
    assert_eq!(begun, [0, 25, 75, 175]);
    assert_eq!((call.tries(), call.retries()), (4, 3));
}

#[test]
fn off_is_off() {
    let off = RetryPolicy::off();
    for outcome in [
        TryOutcome::ConnectFailure,
        TryOutcome::Reset { sent: false },
    ] {
        let next = after(&off, Effect::Idempotent, &ended(outcome));
        assert_eq!(next, Next::Done(Halt::NotAskedFor), "{outcome:?}");
    }
}

/// What may have taken effect is not done twice; what certainly was not is repeated for everybody.
#[test]
fn effects_are_not_repeated() {
    let asked = policy(2, "5xx");
    let everything = RetryPolicy {
        repeats: Repeats::Everything,
        ..asked.clone()
    };
    let sent = [
        answered(503),
        ended(TryOutcome::Reset { sent: true }),
        ended(TryOutcome::PerTryTimeout),
    ];
    for ended in &sent {
        assert_eq!(
            after(&asked, Effect::Unknown, ended),
            Next::Done(Halt::Effect)
        );
        assert!(matches!(
            after(&asked, Effect::Idempotent, ended),
            Next::Retry(_)
        ));
        assert!(matches!(
            after(&everything, Effect::Unknown, ended),
            Next::Retry(_)
        ));
    }
    for outcome in [
        TryOutcome::ConnectFailure,
        TryOutcome::Refused,
        TryOutcome::Reset { sent: false },
    ] {
        assert!(matches!(
            after(&asked, Effect::Unknown, &ended(outcome)),
            Next::Retry(_)
        ));
    }
}

#[test]
fn methods_say_what_they_promise() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert_eq!(Effect::of(method, false), Effect::Idempotent, "{method}");
    }
    for method in ["POST", "PATCH", "CONNECT", "get", "PURGE"] {
        assert_eq!(Effect::of(method, false), Effect::Unknown, "{method}");
        assert_eq!(Effect::of(method, true), Effect::Idempotent, "{method}");
    }
}

/// Every call of gRPC is a POST: a document that names its statuses means them, Istio's default is nobody's word.
#[test]
fn grpc_statuses_are_meant_by_whoever_names_them() {
    let named = policy(1, "unavailable");
    assert!(matches!(
        after(&named, Effect::Unknown, &grpc(14)),
        Next::Retry(_)
    ));
    assert_eq!(
        after(&named, Effect::Unknown, &grpc(13)),
        Next::Done(Halt::NotAskedFor)
    );
    let default = RetryPolicy::default();
    assert_eq!(
        after(&default, Effect::Unknown, &grpc(14)),
        Next::Done(Halt::Effect)
    );
    assert!(matches!(
        after(&default, Effect::Idempotent, &grpc(14)),
        Next::Retry(_)
    ));
    // A broken stream is no status.
    let broken = ended(TryOutcome::Reset { sent: true });
    let both = policy(1, "unavailable,reset");
    assert_eq!(
        after(&both, Effect::Unknown, &broken),
        Next::Done(Halt::Effect)
    );
}

#[test]
fn a_body_that_is_gone_is_not_sent_again() {
    let gone = Ended {
        replayable: false,
        ..answered(500)
    };
    let next = after(&policy(1, "5xx"), Effect::Idempotent, &gone);
    assert_eq!(next, Next::Done(Halt::Body));
}

#[test]
fn endpoints_say_when() {
    let policy = policy(5, "5xx,unavailable");
    for (ended, expected) in [
        (
            Ended {
                wish: Wish::NotBefore(ms(400)),
                ..answered(503)
            },
            Next::Retry(ms(400)),
        ),
        // Never sooner than the back-off.
        (
            Ended {
                wish: Wish::NotBefore(ms(3)),
                ..answered(503)
            },
            Next::Retry(ms(25)),
        ),
        (
            Ended {
                wish: Wish::At(ms(3)),
                ..grpc(14)
            },
            Next::Retry(ms(3)),
        ),
        (
            Ended {
                wish: Wish::Never,
                ..grpc(14)
            },
            Next::Done(Halt::Refused),
        ),
        // Without a deadline nobody is kept waiting for longer than ten seconds.
        (
            Ended {
                wish: Wish::NotBefore(ms(10_000)),
                ..answered(503)
            },
            Next::Retry(ms(10_000)),
        ),
        (
            Ended {
                wish: Wish::NotBefore(ms(10_001)),
                ..answered(503)
            },
            Next::Done(Halt::Deadline),
        ),
    ] {
        assert_eq!(
            after(&policy, Effect::Idempotent, &ended),
            expected,
            "{ended:?}"
        );
    }
}

#[test]
fn a_retry_that_could_not_begin_in_time_is_not_waited_for() {
    let policy = policy(3, "5xx");
    let mut call = Call::new(&policy, Effect::Idempotent, Some(at(100)));
    call.begin(at(0)).unwrap();
    assert_eq!(call.ended(&answered(500), at(74), 0), Next::Retry(ms(25)));
    assert_eq!(call.begin(at(99)).unwrap().remaining, Some(ms(1)));
    assert_eq!(
        call.ended(&answered(500), at(99), 0),
        Next::Done(Halt::Deadline)
    );
    assert!(call.begin(at(100)).is_none());
}

/// The seed's payment policy: 5 s for a try, 15 s in all, tries at about 0, 5 and 10 s; the last has what is left.
#[test]
fn a_try_is_shortened_to_what_is_left() {
    let policy = RetryPolicy {
        per_try_timeout: Some(ms(5_000)),
        ..policy(2, "5xx")
    };
    let mut call = Call::new(&policy, Effect::Idempotent, Some(at(15_000)));
    let mut now = 0;
    let mut tries = Vec::new();
    while let Some(time) = call.begin(at(now)) {
        let length = time.shortest().unwrap();
        tries.push((now, u64::try_from(length.as_millis()).unwrap()));
        now += tries.last().unwrap().1;
        if time.per_try.is_none() {
            break;
        }
        match call.ended(&ended(TryOutcome::PerTryTimeout), at(now), 0) {
            Next::Retry(pause) => now += u64::try_from(pause.as_millis()).unwrap(),
            _ => break,
        }
    }
    assert_eq!(tries, [(0, 5_000), (5_025, 5_000), (10_075, 4_925)]);
    assert_eq!(now, 15_000);
}

/// A connection that had served before and broke, or a stream that was refused: HTTP allows one more.
#[test]
fn http_allows_one_more() {
    let default = RetryPolicy::default();
    let off = RetryPolicy::off();
    let stale = Ended {
        reused: true,
        ..ended(TryOutcome::Reset { sent: true })
    };
    let mut call = Call::new(&default, Effect::Idempotent, None);
    call.begin(at(0)).unwrap();
    assert_eq!(call.ended(&stale, at(1), 0), Next::Replay);
    assert_eq!(call.ended(&stale, at(1), 0), Next::Done(Halt::NotAskedFor));
    assert_eq!(call.retries(), 0);
    assert_eq!(
        after(&default, Effect::Unknown, &stale),
        Next::Done(Halt::NotAskedFor)
    );
    let fresh = Ended {
        reused: false,
        ..stale
    };
    assert_eq!(
        after(&default, Effect::Idempotent, &fresh),
        Next::Done(Halt::NotAskedFor)
    );
    let refused = ended(TryOutcome::Refused);
    assert_eq!(after(&off, Effect::Unknown, &refused), Next::Replay);
    assert!(matches!(
        after(&default, Effect::Unknown, &refused),
        Next::Retry(_)
    ));
    let gone = Ended {
        replayable: false,
        ..refused
    };
    assert_eq!(
        after(&off, Effect::Unknown, &gone),
        Next::Done(Halt::NotAskedFor)
    );
}

fn any_ended() -> impl Strategy<Value = Ended> {
    let outcome = prop_oneof![
        (200_u16..600).prop_map(|status| TryOutcome::Answered { status, grpc: None }),
        (0_u16..17).prop_map(|code| TryOutcome::Answered {
            status: 200,
            grpc: Some(code)
        }),
        Just(TryOutcome::ConnectFailure),
        Just(TryOutcome::Refused),
        any::<bool>().prop_map(|sent| TryOutcome::Reset { sent }),
        Just(TryOutcome::PerTryTimeout),
    ];
    let wish = prop_oneof![
        4 => Just(Wish::Silent),
        1 => (0_u64..20_000).prop_map(|millis| Wish::NotBefore(ms(millis))),
        1 => (0_u64..20_000).prop_map(|millis| Wish::At(ms(millis))),
        1 => Just(Wish::Never),
    ];
    (outcome, any::<[bool; 3]>(), wish).prop_map(
        |(outcome, [reused, rate_limited, replayable], wish)| Ended {
            outcome,
            reused,
            rate_limited,
            wish,
            replayable,
        },
    )
}

proptest! {
    /// Whatever happens: never more than the policy's retries and one replay, never a try after the deadline, and nothing
    /// that may have taken effect twice unless it may.
    #[test]
    fn a_call_stays_within_its_bounds(
        endings in prop::collection::vec((any_ended(), 0_u64..3_000), 1..40),
        attempts in 0_u32..8,
        deadline in prop::option::of(1_u64..20_000),
        idempotent in any::<bool>(),
        random in any::<u64>(),
    ) {
        let policy = RetryPolicy {
            backoff: Backoff::default(),
            per_try_timeout: Some(ms(700)),
            ..policy(attempts, "5xx,reset,retriable-4xx,429,unavailable,internal")
        };
        let effect = if idempotent { Effect::Idempotent } else { Effect::Unknown };
        let mut call = Call::new(&policy, effect, deadline.map(at));
        let mut now = 0;
        for (ended, took) in endings {
            let Some(time) = call.begin(at(now)) else {
                prop_assert!(deadline.is_some_and(|deadline| now >= deadline));
                break;
            };
            if let (Some(left), Some(deadline)) = (time.shortest(), deadline) {
                prop_assert!(u128::from(now) + left.as_millis() <= u128::from(deadline));
            }
            now += took;
            let next = call.ended(&ended, at(now), random);
            let unseen = matches!(
                ended.outcome,
                TryOutcome::ConnectFailure | TryOutcome::Refused | TryOutcome::Reset { sent: false }
            );
            let named = matches!(ended.outcome, TryOutcome::Answered { grpc: Some(13 | 14), .. });
            match next {
                Next::Done(_) => break,
                Next::Replay | Next::Retry(_) => {
                    prop_assert!(ended.replayable);
                    prop_assert!(idempotent || unseen || named);
                    if let Next::Retry(pause) = next {
                        now += u64::try_from(pause.as_millis()).unwrap();
                        prop_assert!(deadline.is_none_or(|deadline| now < deadline));
                    }
                }
            }
            prop_assert!(call.retries() <= attempts);
            prop_assert!(call.tries() <= attempts + 2);
        }
    }
}
