//! When breakers open and close, and for how long.

use std::sync::Mutex;

use super::*;
use BreakerState::{Closed, HalfOpen, Open};

#[test]
fn errors_in_a_row_open_it_and_a_success_begins_the_row_anew() {
    let live = watched(2, "consecutive5xxErrors: 3, maxEjectionPercent: 50");
    for outcome in [ERROR, ERROR, OK, ERROR, ERROR] {
        strike(&live, 0, outcome, at(0));
    }
    assert_eq!(states(&live, at(0)), [Closed, Closed]);
    strike(&live, 0, ERROR, at(0));
    assert_eq!(states(&live, at(0)), [Open, Closed]);
    for number in 0..100 {
        assert_eq!(request(&live, at(1), number, |_| OK), Some(1));
    }
}

#[test]
fn the_defaults_are_istios() {
    let live = watched(2, "");
    for _ in 0..4 {
        strike(&live, 0, ERROR, at(0));
    }
    assert_eq!(states(&live, at(0)), [Closed, Closed]);
    strike(&live, 0, ERROR, at(0));
    assert_eq!(states(&live, at(0)), [Open, Closed], "10 % of two is one");
    assert_eq!(states(&live, at(29)), [Open, Closed]);
    assert_eq!(states(&live, at(30)), [HalfOpen, Closed]);
}

/// Seed 004, scenario 1: three errors, 60 s, everything may be ejected.
#[test]
fn the_seeds_payment_breaker() {
    let policy = "consecutiveErrors: 3, interval: 10s, baseEjectionTime: 60s, maxEjectionPercent: 100, minHealthPercent: 0";
    let live = watched(2, policy);
    let mut answered = 0;
    for number in 0..50 {
        answered += u32::from(request(&live, at(0), number, |_| ERROR).is_some());
    }
    assert_eq!(answered, 6, "three for each endpoint, then nobody");
    assert_eq!(live.breaker(at(59)), Open);
    assert_eq!(request(&live, at(59), 1, |_| OK), None);
    assert_eq!(live.breaker(at(60)), HalfOpen);
    assert!(request(&live, at(60), 1, |_| OK).is_some());
    assert_eq!(live.breaker(at(60)), Closed);
    assert!(request(&live, at(60), 1, |_| OK).is_some());
    assert!(request(&live, at(60), 2, |_| OK).is_some());
    assert_eq!(states(&live, at(60)), [Closed, Closed]);
}

#[test]
fn exactly_one_trial_at_the_end_of_the_ejection_and_not_at_the_next_sweep() {
    let live = watched(
        1,
        "consecutive5xxErrors: 1, interval: 3600s, baseEjectionTime: 5s, maxEjectionPercent: 100",
    );
    strike(&live, 0, ERROR, at(0));
    let pick = |now| live.pick(&Choice::default(), now, 1);
    assert_eq!(pick(at(4)), None);
    assert_eq!(pick(at(5)), Some(0));
    let trial = live.begin(0, at(5));
    assert!(trial.is_trial());
    for _ in 0..100 {
        assert_eq!(pick(at(5)), None, "one at a time");
    }
    // However long it takes.
    assert_eq!(pick(at(500)), None);
    drop(trial);
    assert_eq!(
        pick(at(500)),
        Some(0),
        "a trial that was given up says nothing"
    );
    let trial = live.begin(0, at(500));
    trial.report(OK, at(501));
    assert_eq!(live.breaker(at(501)), Closed);
}

#[test]
fn a_failed_trial_opens_it_for_longer_each_time_up_to_the_longest() {
    let live = watched(
        1,
        "consecutive5xxErrors: 1, baseEjectionTime: 100s, maxEjectionPercent: 100",
    );
    let mut now = BEGIN;
    strike(&live, 0, ERROR, now);
    for seconds in [100, 200, 300, 300, 300] {
        let over = now.plus(Duration::from_secs(seconds));
        let before = Moment::from_nanos(over.nanos() - 1);
        assert_eq!(live.breaker(before), Open, "{seconds}");
        assert_eq!(live.breaker(over), HalfOpen, "{seconds}");
        now = over;
        assert_eq!(
            request(&live, now, 1, |_| TryOutcome::ConnectFailure),
            Some(0)
        );
        assert_eq!(live.breaker(now), Open);
    }
    // A base above five minutes is its own longest.
    let live = watched(
        1,
        "consecutive5xxErrors: 1, baseEjectionTime: 600s, maxEjectionPercent: 100",
    );
    strike(&live, 0, ERROR, at(0));
    assert!(request(&live, at(600), 1, |_| ERROR).is_some());
    assert_eq!(live.breaker(at(1199)), Open);
    assert_eq!(live.breaker(at(1200)), HalfOpen);
}

#[test]
fn an_ejection_is_forgotten_with_every_healthy_interval() {
    let policy =
        "consecutive5xxErrors: 1, interval: 10s, baseEjectionTime: 30s, maxEjectionPercent: 100";
    for (healthy, next) in [(0, 90), (9, 90), (10, 60), (19, 60), (20, 30), (9999, 30)] {
        let live = watched(1, policy);
        strike(&live, 0, ERROR, at(0));
        assert!(request(&live, at(30), 1, |_| ERROR).is_some());
        assert!(request(&live, at(90), 1, |_| OK).is_some());
        let again = at(90 + healthy);
        strike(&live, 0, ERROR, again);
        let over = again.plus(Duration::from_secs(next));
        assert_eq!(live.breaker(Moment::from_nanos(over.nanos() - 1)), Open);
        assert_eq!(live.breaker(over), HalfOpen, "after {healthy} s");
    }
}

#[test]
fn what_counts() {
    let outcomes = |outcome: TryOutcome| [outcome; 5];
    let opens = |detection: &str, outcomes: &[TryOutcome]| {
        let live = watched(1, detection);
        for outcome in outcomes {
            strike(&live, 0, *outcome, at(0));
        }
        live.breaker(at(0)) == Open
    };
    let grpc = |status| TryOutcome::Answered {
        status: 200,
        grpc: Some(status),
    };
    let reset = TryOutcome::Reset { sent: true };
    let errors = [
        answered(500),
        answered(503),
        answered(599),
        grpc(14),
        grpc(13),
        grpc(2),
        TryOutcome::ConnectFailure,
        TryOutcome::Refused,
        reset,
        TryOutcome::PerTryTimeout,
        TryOutcome::DeadlineExceeded,
    ];
    for error in errors {
        assert!(opens("", &outcomes(error)), "{error:?}");
    }
    for fine in [
        OK,
        answered(499),
        answered(429),
        grpc(0),
        grpc(5),
        TryOutcome::Cancelled,
    ] {
        assert!(!opens("", &outcomes(fine)), "{fine:?}");
    }
    let gateway = "consecutiveGatewayErrors: 3, consecutive5xxErrors: 0";
    assert!(opens(
        gateway,
        &[answered(502), answered(503), answered(504)]
    ));
    assert!(opens(gateway, &[TryOutcome::ConnectFailure; 3]));
    assert!(!opens(gateway, &[answered(500); 9]));
    let both = "consecutiveGatewayErrors: 3, consecutive5xxErrors: 5";
    let mixed = [
        answered(502),
        answered(503),
        answered(500),
        answered(502),
        answered(502),
    ];
    assert!(
        opens(both, &mixed),
        "five errors, though no three of the gateway's"
    );
    assert!(!opens(both, &mixed[..4]));
    let split = "splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, consecutive5xxErrors: 3";
    assert!(opens(split, &[TryOutcome::ConnectFailure; 2]));
    assert!(opens(split, &[ERROR; 3]));
    let alternating = [
        ERROR,
        TryOutcome::ConnectFailure,
        ERROR,
        TryOutcome::ConnectFailure,
    ];
    assert!(
        !opens(split, &alternating),
        "an answer shows that it can be reached"
    );
    assert!(opens(
        split,
        &[
            ERROR,
            TryOutcome::ConnectFailure,
            ERROR,
            TryOutcome::ConnectFailure,
            ERROR
        ]
    ));
    let listed = "outlierDetectionHttpErrorCodes: [429, 503], consecutive5xxErrors: 2";
    assert!(opens(listed, &[answered(429), answered(503)]));
    assert!(!opens(listed, &[answered(500); 9]));
    assert!(!opens("consecutive5xxErrors: 0", &[ERROR; 99]));
    // A client that leaves says nothing either way.
    assert!(opens(
        "consecutive5xxErrors: 2",
        &[ERROR, TryOutcome::Cancelled, ERROR]
    ));
}

#[test]
fn no_more_than_the_maximum_and_always_one() {
    for (count, percent, most) in [
        (1, 10, 1),
        (2, 10, 1),
        (2, 50, 1),
        (3, 50, 1),
        (4, 50, 2),
        (10, 10, 1),
        (10, 99, 9),
        (10, 100, 10),
        (100, 33, 33),
        (5, 0, 0),
    ] {
        let detection = format!("consecutive5xxErrors: 1, maxEjectionPercent: {percent}");
        let live = watched(count, &detection);
        for _ in 0..3 {
            for position in 0..count {
                strike(&live, position, ERROR, at(0));
            }
        }
        let open = states(&live, at(0))
            .iter()
            .filter(|state| **state == Open)
            .count();
        assert_eq!(open, most, "{percent} % of {count}");
        assert_eq!(live.state(at(0)).spared > 0, most < count);
    }
}

#[test]
fn below_the_least_health_everybody_is_used() {
    let live = watched(
        4,
        "consecutive5xxErrors: 1, maxEjectionPercent: 100, minHealthPercent: 50",
    );
    let seen = |live: &Arc<Live>, now| {
        let mut seen = [0; 4];
        for number in 0..400 {
            if let Some(position) = request(live, now, number, |_| OK) {
                seen[position] += 1;
            }
        }
        seen
    };
    strike(&live, 0, ERROR, at(0));
    strike(&live, 1, ERROR, at(0));
    assert_eq!(
        seen(&live, at(0)),
        [0, 0, 200, 200],
        "half of them is not below half"
    );
    strike(&live, 2, ERROR, at(0));
    assert_eq!(seen(&live, at(0)), [100; 4]);
    assert_eq!(states(&live, at(0)), [Open, Open, Open, Closed]);
    // Their trials close them all the same.
    assert!(seen(&live, at(30)).iter().all(|count| *count > 0));
    assert_eq!(states(&live, at(30)), [Closed; 4]);
}

#[test]
fn late_answers_of_an_ejected_endpoint_say_nothing() {
    let live = watched(1, "consecutive5xxErrors: 1, maxEjectionPercent: 100");
    let (early, other) = (live.begin(0, at(0)), live.begin(0, at(0)));
    strike(&live, 0, ERROR, at(0));
    early.report(OK, at(1));
    assert_eq!(live.breaker(at(1)), Open);
    other.report(ERROR, at(29));
    assert_eq!(live.breaker(at(30)), HalfOpen, "and make it no longer");
}

#[test]
fn an_endpoint_that_fails_its_health_checks_gets_nothing() {
    let live = live(2, "");
    live.set_health(0, false, at(0));
    for number in 0..20 {
        assert_eq!(request(&live, at(0), number, |_| OK), Some(1));
    }
    live.set_health(1, false, at(0));
    assert_eq!(request(&live, at(0), 1, |_| OK), None);
    live.set_health(0, true, at(1));
    assert_eq!(request(&live, at(1), 1, |_| OK), Some(0));
    assert_eq!(live.breaker(at(1)), Closed, "a breaker is another thing");
}

#[derive(Debug, Default)]
struct Diary(Mutex<Vec<String>>);

impl Observer for Diary {
    fn transition(&self, cluster: &ClusterKey, transition: &Transition) {
        let Transition {
            from, to, reason, ..
        } = transition;
        let (from, to) = (from.as_str(), to.as_str());
        let line = format!(
            "{}:{} {from} {to} {reason}",
            cluster.port, transition.endpoint
        );
        self.0.lock().unwrap().push(line);
    }
}

#[test]
fn every_transition_is_told_once() {
    let live = watched(1, "consecutive5xxErrors: 1, maxEjectionPercent: 100");
    let diary = Arc::new(Diary::default());
    let observer = Arc::clone(&diary);
    let observer: Arc<dyn Observer> = observer;
    live.observe(&observer);
    for second in 0..200 {
        let works = second >= 90;
        request(&live, at(second), 1, |_| if works { OK } else { ERROR });
        request(&live, at(second), 2, |_| if works { OK } else { ERROR });
    }
    strike(&live, 0, ERROR, at(500));
    assert!(live.reset(0, at(501)));
    assert!(!live.reset(0, at(501)));
    let told = diary.0.lock().unwrap().join("\n");
    let expected = "80:10.0.0.1:80 closed open consecutive-5xx
80:10.0.0.1:80 open half-open ejection-time-over
80:10.0.0.1:80 half-open open trial-failed
80:10.0.0.1:80 open half-open ejection-time-over
80:10.0.0.1:80 half-open closed trial-succeeded
80:10.0.0.1:80 closed open consecutive-5xx
80:10.0.0.1:80 open closed operator";
    assert_eq!(told, expected);
    assert_eq!(live.state(at(501)).transitions.len(), 7);
}

#[test]
fn as_many_requests_as_the_pool_has_room_for() {
    let live = live(1, "connectionPool: {http: {http2MaxRequests: 3}}");
    let mut admitted: Vec<Admission> = (0..3).map(|_| live.admit().unwrap()).collect();
    assert_eq!(live.active(), 3);
    assert_eq!(live.admit().unwrap_err(), Overflow);
    admitted.pop();
    assert!(live.admit().is_ok());
    assert_eq!(live.overflows(), 1);
    drop(admitted);
    assert_eq!(live.active(), 0);
    let unlimited = watched(1, "");
    let many: Vec<Admission> = (0..1_000).map(|_| unlimited.admit().unwrap()).collect();
    assert_eq!(many.len(), 1_000);
}
