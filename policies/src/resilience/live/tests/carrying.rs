//! What outlives a change of documents.

use super::*;
use BreakerState::{Closed, Open};

fn next(previous: &Live, endpoints: &[String], policy: &str, now: Moment) -> Arc<Live> {
    Arc::new(Live::new(
        &cluster_of(endpoints, policy, ""),
        Some(previous),
        now,
    ))
}

const POLICY: &str = "outlierDetection: {consecutive5xxErrors: 3, maxEjectionPercent: 50}, connectionPool: {http: {http2MaxRequests: 2}}";

#[test]
fn a_reload_opens_no_breaker_and_closes_none() {
    let before = live(4, POLICY);
    for _ in 0..3 {
        strike(&before, 2, ERROR, at(0));
    }
    strike(&before, 1, ERROR, at(0));
    strike(&before, 1, ERROR, at(0));
    let admission = before.admit().unwrap();
    // Another order, one new, one gone.
    let order: Vec<String> = [2, 1, 9, 0].map(|number| endpoint(number, "")).into();
    let after = next(&before, &order, POLICY, at(1));
    assert_eq!(states(&after, at(1)), [Open, Closed, Closed, Closed]);
    assert_eq!(after.active(), 1);
    let more = after.admit().unwrap();
    assert_eq!(after.admit().unwrap_err(), Overflow);
    drop((admission, more));
    assert_eq!(after.active(), 0);
    strike(&after, 1, ERROR, at(1));
    assert_eq!(
        states(&after, at(1)),
        [Open, Open, Closed, Closed],
        "the row goes on"
    );
    assert_eq!(after.state(at(1)).transitions.len(), 2);
}

/// A request that began under the generation before counts against the endpoints of the newest.
#[test]
fn the_maximum_is_of_the_newest_endpoints() {
    let before = live(10, POLICY);
    let after = next(&before, &endpoints(4), POLICY, at(1));
    for position in 0..10 {
        for _ in 0..3 {
            strike(&before, position, ERROR, at(2));
        }
    }
    let open = states(&after, at(2))
        .iter()
        .filter(|state| **state == Open)
        .count();
    assert_eq!(open, 2);
    for number in 0..20 {
        let position = request(&after, at(2), number, |_| OK).unwrap();
        assert_eq!(states(&after, at(2))[position], Closed);
    }
}

#[test]
fn without_detection_nobody_stays_ejected() {
    let before = live(2, POLICY);
    for _ in 0..3 {
        strike(&before, 0, ERROR, at(0));
    }
    let after = next(&before, &endpoints(2), "", at(1));
    assert_eq!(states(&after, at(1)), [Closed, Closed]);
}

#[test]
fn newcomers_warm_up_and_the_first_endpoints_do_not() {
    let policy = "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 100s}}";
    let before = live(2, policy);
    let share = |live: &Arc<Live>, now| {
        let mut counts = vec![0; 3];
        for number in 0..2_100 {
            counts[request(live, now, number, |_| OK).unwrap()] += 1;
        }
        counts
    };
    assert_eq!(share(&before, at(0))[..2], [1_050, 1_050]);
    let after = next(&before, &endpoints(3), policy, at(0));
    let cold = share(&after, at(1));
    assert!((50..=150).contains(&cold[2]), "{cold:?}");
    let warm = share(&after, at(101));
    assert_eq!(warm, [700; 3]);
}

#[test]
fn turns_go_on() {
    let before = live(3, "");
    let first = request(&before, at(0), 1, |_| OK);
    let after = next(&before, &endpoints(3), "", at(1));
    let second = request(&after, at(1), 1, |_| OK);
    assert_eq!((first, second), (Some(0), Some(1)));
}
