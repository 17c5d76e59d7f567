//! What holds in every timeline.

use proptest::prelude::*;

use super::*;
use BreakerState::{Closed, HalfOpen, Open};

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Passes(u64),
    Begins(u64),
    Ends(usize, bool),
    Leaves(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..8_000).prop_map(Event::Passes),
        any::<u64>().prop_map(Event::Begins),
        any::<u64>().prop_map(Event::Begins),
        (0_usize..16, any::<bool>()).prop_map(|(which, works)| Event::Ends(which, works)),
        (0_usize..16, any::<bool>()).prop_map(|(which, works)| Event::Ends(which, works)),
        (0_usize..16).prop_map(Event::Leaves),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// The ejected share is never above the maximum, a half-open endpoint has one trial and no more, and nobody whose
    /// breaker is open is picked.
    #[test]
    fn breakers(
        count in 1_usize..12,
        percent in 0_u32..=100,
        errors in 1_u32..4,
        balancer in prop_oneof![Just("ROUND_ROBIN"), Just("LEAST_REQUEST"), Just("RANDOM")],
        events in prop::collection::vec(event(), 1..200),
    ) {
        let settings = Settings {
            balancer: match balancer {
                "RANDOM" => Balancer::Random,
                "LEAST_REQUEST" => Balancer::LeastRequest,
                _ => Balancer::RoundRobin,
            },
            detection: Some(crate::resilience::Detection {
                server_errors: std::num::NonZeroU32::new(errors),
                max_ejection_percent: percent,
                ..crate::resilience::Detection::from(&crate::document::OutlierDetection::default())
            }),
            ..Settings::default()
        };
        let live = Arc::new(Live::new(&bare(count, settings), None, BEGIN));
        let most = live.settings.detection.as_ref().unwrap().may_eject(count);
        let mut now = BEGIN;
        let mut tries: Vec<Try> = Vec::new();
        for event in events {
            match event {
                Event::Passes(millis) => now = now.plus(Duration::from_millis(millis)),
                Event::Begins(random) => {
                    let before = states(&live, now);
                    if let Some(position) = live.pick(&Choice::default(), now, random) {
                        prop_assert_ne!(before[position], Open);
                        let begun = live.begin(position, now);
                        prop_assert_eq!(begun.is_trial(), before[position] == HalfOpen);
                        tries.push(begun);
                    } else {
                        prop_assert!(!before.contains(&Closed));
                    }
                }
                Event::Ends(which, works) if !tries.is_empty() => {
                    let ended = tries.swap_remove(which % tries.len());
                    ended.report(if works { OK } else { ERROR }, now);
                }
                Event::Leaves(which) if !tries.is_empty() => {
                    drop(tries.swap_remove(which % tries.len()));
                }
                Event::Ends(..) | Event::Leaves(_) => {}
            }
            let out = states(&live, now).into_iter().filter(|state| *state != Closed).count();
            prop_assert!(out <= most, "{} of {}", out, count);
            for position in 0..count {
                let trials = tries.iter().filter(|one| one.position() == position && one.is_trial());
                prop_assert!(trials.count() <= 1);
            }
        }
        drop(tries);
        prop_assert!(live.endpoint_states(now).all(|state| state.active == 0));
    }

    /// Requests are shared out as the weights say, however many endpoints are out.
    #[test]
    fn weights_converge(
        weights in prop::collection::vec(1_u32..20, 1..8),
        out in prop::collection::vec(any::<bool>(), 8),
        random in any::<u64>(),
    ) {
        let mut cluster = bare(weights.len(), Settings { balancer: Balancer::Random, ..Settings::default() });
        for (endpoint, weight) in cluster.endpoints.iter_mut().zip(&weights) {
            endpoint.weight = *weight;
        }
        let live = Arc::new(Live::new(&cluster, None, BEGIN));
        for (position, out) in out.iter().enumerate() {
            live.set_health(position, !out, BEGIN);
        }
        let fit = |position: usize| !out[position];
        let total: u32 = (0..weights.len()).filter(|p| fit(*p)).map(|p| weights[p]).sum();
        let mut counts = vec![0_u32; weights.len()];
        for number in 0..4_000 {
            if let Some(position) = request(&live, BEGIN, mixed(random, number), |_| OK) {
                counts[position] += 1;
            }
        }
        for (position, count) in counts.iter().enumerate() {
            if fit(position) {
                let expected = f64::from(weights[position]) / f64::from(total);
                let found = f64::from(*count) / 4_000.0;
                prop_assert!((found - expected).abs() < 0.05, "{:?} {:?} {:?}", weights, out, counts);
            } else {
                prop_assert_eq!(*count, 0);
            }
        }
    }
}

/// A cluster under given settings.
fn bare(count: usize, settings: Settings) -> Cluster {
    let mut cluster = cluster_of(&endpoints(count), "", "");
    cluster.resilience = Arc::new(settings);
    cluster
}

/// Threads that pick, begin and fail at once: still one trial, and never too many ejected.
#[test]
fn threads_share_one_trial() {
    let live = watched(
        8,
        "consecutive5xxErrors: 1, maxEjectionPercent: 50, baseEjectionTime: 1s",
    );
    for second in 0..200_u64 {
        let now = at(second);
        let trials: u32 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let live = &live;
                    scope.spawn(move || {
                        let mut tries = Vec::new();
                        for number in 0..8 {
                            let random = mixed(second, worker * 100 + number);
                            if let Some(position) = live.pick(&Choice::default(), now, random) {
                                tries.push(live.begin(position, now));
                            }
                        }
                        tries
                    })
                })
                .collect();
            let tries: Vec<Try> = workers
                .into_iter()
                .flat_map(|worker| worker.join().unwrap())
                .collect();
            let half_open = states(&live, now)
                .iter()
                .filter(|state| **state == HalfOpen)
                .count();
            let trials = tries.iter().filter(|one| one.is_trial()).count();
            assert!(trials <= half_open, "{trials} trials of {half_open}");
            for one in tries {
                one.report(if second % 3 == 0 { OK } else { ERROR }, now);
            }
            u32::try_from(trials).unwrap()
        });
        assert!(trials <= 4);
        let out = states(&live, now)
            .into_iter()
            .filter(|state| *state != Closed)
            .count();
        assert!(out <= 4, "{out}");
    }
}
