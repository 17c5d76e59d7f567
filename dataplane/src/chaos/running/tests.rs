//! Scenarios as timelines, without a clock.

use super::*;
use crate::chaos::fault::Share;

const SECOND: Duration = Duration::from_secs(1);

fn share(of: f64) -> Share {
    Share::try_from(of).unwrap()
}

fn error(id: &str, rate: f64, error_type: &str, seconds: u64) -> Scenario {
    Scenario {
        id: id.to_owned(),
        fault: Fault::Error {
            rate: share(rate),
            error_type: error_type.parse().unwrap(),
        },
        remaining_ms: seconds * 1000,
        seed: None,
    }
}

fn latency(id: &str, probability: f64, delay_ms: u64) -> Scenario {
    Scenario {
        id: id.to_owned(),
        fault: Fault::Latency {
            delay_ms,
            probability: share(probability),
        },
        remaining_ms: 60_000,
        seed: None,
    }
}

fn running(orders: Vec<Scenario>) -> Running {
    let none = Running::default();
    none.replaced(orders, "one", Moment::START).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::START.plus(Duration::from_secs(seconds))
}

#[test]
fn nothing_happens_without_a_scenario_and_after_its_end() {
    assert_eq!(running(vec![]).strike(at(0), || 0), Strike::MISS);
    let scenarios = running(vec![error("a", 1.0, "HTTP_500", 10)]);
    let strike = scenarios.strike(at(9), || 0);
    assert_eq!(strike.error, Some((ErrorType::DEFAULT, at(10))));
    assert_eq!(scenarios.strike(at(10), || 0), Strike::MISS);
    assert_eq!(scenarios.next_end(), Some(at(10)));
    assert!(scenarios.swept(at(9)).is_none());
    assert_eq!(scenarios.swept(at(10)).unwrap().len(), 0);
}

#[test]
fn delays_add_up_and_the_first_error_holds() {
    let scenarios = running(vec![
        latency("a", 1.0, 100),
        error("b", 1.0, "RESET", 60),
        latency("c", 1.0, 50),
        error("d", 1.0, "HTTP_503", 60),
    ]);
    let strike = scenarios.strike(at(1), || 0);
    assert_eq!(strike.delay, Some(Duration::from_millis(150)));
    assert_eq!(strike.error, Some((ErrorType::Reset, at(60))));
    let shown = scenarios.shown(at(1));
    let struck: Vec<u64> = shown.iter().map(|one| one.struck).collect();
    assert_eq!(struck, [1, 1, 1, 0]);
    assert_eq!(shown[1].remaining_ms, 59_000);
}

#[test]
fn the_share_is_kept_and_a_seed_repeats_itself() {
    let seeded = |instance: &str| {
        let mut order = error("a", 0.3, "HTTP_500", 60);
        order.seed = Some(7);
        let scenarios = Running::default().replaced(vec![order], instance, Moment::START);
        let scenarios = scenarios.unwrap();
        let draw = || panic!("a seeded scenario draws nothing");
        let strikes: Vec<bool> = (0..10_000)
            .map(|_| scenarios.strike(at(1), draw).error.is_some())
            .collect();
        strikes
    };
    let first = seeded("one");
    let count = first.iter().filter(|struck| **struck).count();
    assert!((2800..3200).contains(&count), "{count}");
    assert_eq!(first, seeded("one"));
    // Another instance has its own order: how it fares tells nothing about the first.
    let other = seeded("two");
    let both = first.iter().zip(&other).filter(|(a, b)| **a && **b).count();
    assert!((750..1050).contains(&both), "{both}");
}

#[test]
fn a_scenario_that_is_ordered_again_goes_on() {
    let first = running(vec![error("a", 1.0, "HTTP_500", 60)]);
    first.strike(at(1), || 0);
    // Passed on again a moment later, as the sender counts the time that is left.
    let now = at(2).plus(Duration::from_millis(30));
    let again = first.replaced(vec![error("a", 1.0, "HTTP_500", 58)], "one", now);
    let again = again.unwrap();
    assert_eq!(again.next_end(), Some(at(60)));
    assert_eq!(again.shown(at(2))[0].struck, 1);
    // Longer is longer, and what is left out is over.
    let longer = again.replaced(vec![error("a", 1.0, "HTTP_500", 100)], "one", at(2));
    assert_eq!(longer.unwrap().next_end(), Some(at(102)));
    assert_eq!(again.replaced(vec![], "one", at(2)).unwrap().len(), 0);
}

#[test]
fn bad_orders_are_refused() {
    let refused = |orders| {
        Running::default()
            .replaced(orders, "one", Moment::START)
            .unwrap_err()
    };
    let many = (0..=MOST_SCENARIOS)
        .map(|n| error(&n.to_string(), 1.0, "RESET", 1))
        .collect();
    assert_eq!(refused(many), BadOrder::TooMany(17));
    assert_eq!(refused(vec![error("", 1.0, "RESET", 1)]), BadOrder::BadId);
    assert_eq!(
        refused(vec![error("a\nb", 1.0, "RESET", 1)]),
        BadOrder::BadId
    );
    let twice = vec![error("a", 1.0, "RESET", 1), latency("a", 1.0, 1)];
    assert_eq!(refused(twice), BadOrder::Twice("a".to_owned()));
    for seconds in [0, 24 * 3600 + 1] {
        let order = vec![error("a", 1.0, "RESET", seconds)];
        assert_eq!(refused(order), BadOrder::BadLife("a".to_owned()));
    }
    let long = LONGEST_DELAY + SECOND;
    let order = vec![latency("a", 1.0, millis(long))];
    assert_eq!(refused(order), BadOrder::LongDelay("a".to_owned()));
}
