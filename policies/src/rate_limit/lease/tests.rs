//! Several processes share one bucket through leases, on a clock of the test's own.

use super::*;
use crate::document::rate_limit::TokenBucket;
use crate::rate_limit::Fill;

/// The bucket elsewhere.
struct Counter {
    rate: Rate,
    fill: Fill,
    questions: u32,
}

impl Counter {
    fn answer(&mut self, ask: Ask, now: Moment) -> Settled {
        self.questions += 1;
        for _ in 0..ask.back {
            self.fill = self.rate.give_back(self.fill);
        }
        let mut granted = 0;
        while granted < ask.want
            && let Some(next) = self.rate.take(self.fill, now)
        {
            self.fill = next;
            granted += 1;
        }
        Settled {
            ask,
            granted,
            standing: self.rate.standing(self.fill, now),
        }
    }
}

fn rate(requests: u32, interval: Duration, burst: u32) -> Rate {
    Rate::new(TokenBucket {
        requests,
        interval,
        burst,
    })
}

/// `processes` processes that get `per_second` requests each, for `length`: how many passed, and how often they asked.
fn run(rate: Rate, processes: u32, per_second: u32, length: Duration) -> (u32, u32) {
    const ROUND_TRIP: Duration = Duration::from_micros(300);
    let mut counter = Counter {
        rate,
        fill: Fill::default(),
        questions: 0,
    };
    let mut leases = vec![Lease::default(); processes.try_into().unwrap()];
    let mut passed = 0;
    let start = Moment::START.plus(Duration::from_secs(10));
    let gap = Duration::from_secs(1) / (per_second * processes);
    let mut now = start;
    let mut turn = 0;
    while now.since(start) < length {
        let process = turn % leases.len();
        let lease = &mut leases[process];
        match lease.take(&rate, now) {
            Step::Pass(_, ask) => {
                passed += 1;
                if let Some(ask) = ask {
                    lease.settle(&rate, counter.answer(ask, now), now);
                }
            }
            Step::Refuse(standing) => assert!(standing.retry_after > Duration::ZERO),
            Step::Ask(ask) => {
                let settled = counter.answer(ask, now);
                let then = now.plus(ROUND_TRIP);
                lease.settle(&rate, settled, then);
                passed += u32::from(matches!(lease.take(&rate, then), Step::Pass(..)));
            }
            Step::Wait => panic!("nobody asks meanwhile"),
        }
        turn += 1;
        now = now.plus(gap);
    }
    (passed, counter.questions)
}

#[test]
fn four_processes_keep_one_rate_within_5_percent() {
    for (requests, interval, burst, per_second) in [
        (1_000, Duration::from_secs(1), 100, 1_000),
        (1_000, Duration::from_secs(1), 1_000, 1_000),
        (100, Duration::from_secs(1), 10, 50),
        (5_000, Duration::from_secs(1), 500, 5_000),
        (600, Duration::from_mins(1), 60, 10),
    ] {
        let rate = rate(requests, interval, burst);
        let length = Duration::from_secs(20);
        let (passed, questions) = run(rate, 4, per_second, length);
        let came = f64::from(requests) * length.as_secs_f64() / interval.as_secs_f64();
        let offered = f64::from(4 * per_second) * length.as_secs_f64();
        let expected = (came + f64::from(burst)).min(offered);
        let off = (f64::from(passed) - expected).abs() / expected;
        assert!(
            off <= 0.05,
            "{requests}/{interval:?}: {passed} of {expected}"
        );
        // Never more than there is.
        assert!(
            f64::from(passed) <= expected * 1.001 + 1.0,
            "{passed} of {expected}"
        );
        // The hot path stays in memory: who gets many requests asks for few of them, who gets few asks at his pace.
        let asked = f64::from(questions) / offered;
        let a_second = f64::from(questions) / (4.0 * length.as_secs_f64());
        assert!(
            asked < 0.3 || a_second <= 1.0 / PACE.as_secs_f64(),
            "{requests}: {asked} questions a request, {a_second} a second and process"
        );
    }
}

#[test]
fn below_the_limit_everything_passes() {
    let rate = rate(1_000, Duration::from_secs(1), 200);
    let (passed, questions) = run(rate, 4, 200, Duration::from_secs(10));
    assert_eq!(passed, 8_000);
    assert!(questions < 2_000, "{questions}");
}

#[test]
fn a_slow_limit_is_not_hoarded() {
    let rate = rate(10, Duration::from_mins(1), 10);
    let mut lease = Lease::default();
    let now = Moment::START.plus(Duration::from_hours(1));
    for _ in 0..3 {
        let Step::Ask(ask) = lease.take(&rate, now) else {
            panic!("{lease:?}");
        };
        assert_eq!((ask.want, ask.back), (1, 0));
        let standing = rate.standing(Fill::default(), now);
        let settled = Settled {
            ask,
            granted: 1,
            standing,
        };
        lease.settle(&rate, settled, now);
        assert!(matches!(lease.take(&rate, now), Step::Pass(_, None)));
    }
}

#[test]
fn tokens_that_nobody_used_go_back() {
    let rate = rate(1_000, Duration::from_secs(1), 1_000);
    let mut lease = Lease {
        tokens: 7,
        until: Moment::START.plus(Duration::from_secs(1)),
        ..Lease::default()
    };
    let later = Moment::START.plus(Duration::from_secs(2));
    let Step::Ask(ask) = lease.take(&rate, later) else {
        panic!("{lease:?}");
    };
    assert_eq!(ask.back, 7);
    assert!(matches!(lease.take(&rate, later), Step::Wait));
    lease.failed();
    assert!(matches!(
        lease.take(&rate, later),
        Step::Ask(Ask { back: 0, .. })
    ));
}

#[test]
fn what_a_burst_left_over_is_back_before_long() {
    let rate = rate(60, Duration::from_mins(1), 320);
    let mut counter = Counter {
        rate,
        fill: Fill::default(),
        questions: 0,
    };
    let mut leases = [Lease::default(); 4];
    let now = Moment::START.plus(Duration::from_hours(1));
    let mut passed = 0;
    let request = |lease: &mut Lease, counter: &mut Counter, now| {
        loop {
            match lease.take(&rate, now) {
                Step::Pass(_, None) => return true,
                Step::Pass(_, Some(ask)) => {
                    lease.settle(&rate, counter.answer(ask, now), now);
                    return true;
                }
                Step::Ask(ask) => lease.settle(&rate, counter.answer(ask, now), now),
                Step::Refuse(_) => return false,
                Step::Wait => panic!("nobody asks meanwhile"),
            }
        }
    };
    for lease in &mut leases {
        for _ in 0..50 {
            passed += u32::from(request(lease, &mut counter, now));
        }
        assert!(lease.watch());
        assert!(!lease.watch(), "one at a time");
        assert!(matches!(lease.unused(now), Unused::Kept(wait) if wait <= KEPT));
    }
    assert_eq!(passed, 200);
    let later = now.plus(KEPT);
    let mut left = 0;
    for lease in &mut leases {
        let Unused::Back(back) = lease.unused(later) else {
            panic!("{lease:?}");
        };
        left += back;
        counter.answer(Ask { want: 0, back }, later);
        assert_eq!(lease.unused(later), Unused::None);
        assert!(lease.watch(), "the next tokens are watched again");
    }
    assert!(left > 16, "{left} tokens would have been missed");
    // One process gets all that the four did not use.
    while request(&mut leases[0], &mut counter, later) {
        passed += 1;
    }
    assert_eq!(passed, 320);
}

#[test]
fn a_token_of_a_request_that_did_not_pass_is_the_next_ones() {
    let rate = rate(1, Duration::from_hours(1), 1);
    let mut lease = Lease::default();
    let now = Moment::START.plus(Duration::from_hours(1));
    let Step::Ask(ask) = lease.take(&rate, now) else {
        panic!("{lease:?}");
    };
    let standing = rate.standing(Fill::default(), now);
    let settled = Settled {
        ask,
        granted: 1,
        standing,
    };
    lease.settle(&rate, settled, now);
    assert!(matches!(lease.take(&rate, now), Step::Pass(..)));
    lease.give_back();
    assert!(matches!(lease.take(&rate, now), Step::Pass(..)));
}
