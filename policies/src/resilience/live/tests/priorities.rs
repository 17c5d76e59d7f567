//! Localities: who comes first, who stands in, and how requests spill over.

use super::*;

fn localities(each: usize, names: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for name in names {
        for _ in 0..each {
            let rest = if name.contains(':') {
                format!(", labels: {{{name}}}")
            } else {
                format!(", locality: {name}")
            };
            all.push(endpoint(all.len(), &rest));
        }
    }
    all
}

/// How many of a thousand requests each locality gets.
fn shares(live: &Arc<Live>, each: usize, count: usize) -> Vec<u32> {
    let mut shares = vec![0; count];
    for number in 0..1_000 {
        if let Some(position) = request(live, at(0), number, |_| OK) {
            shares[position / each] += 1;
        }
    }
    shares
}

fn eject(live: &Arc<Live>, positions: impl IntoIterator<Item = usize>) {
    for position in positions {
        strike(live, position, ERROR, at(0));
    }
}

const WATCH: &str = "outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100}";
const NAMES: [&str; 5] = ["eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "ap/a/1"];

fn near(setting: &str, caller: &str) -> Arc<Live> {
    let policy = format!("{WATCH}, loadBalancer: {{localityLbSetting: {{{setting}}}}}");
    let cluster = cluster_of(&localities(4, &NAMES), &policy, caller);
    Arc::new(Live::new(&cluster, None, BEGIN))
}

#[test]
fn the_nearest_first_and_then_who_stands_in() {
    let caller = "topology.istio.io/locality=eu/a/1";
    let live = near("failover: [{from: eu, to: ap}]", caller);
    assert_eq!(shares(&live, 4, 5), [1_000, 0, 0, 0, 0]);
    eject(&live, 0..1);
    assert_eq!(
        shares(&live, 4, 5),
        [1_000, 0, 0, 0, 0],
        "three of four suffice"
    );
    eject(&live, 1..2);
    let spilled = shares(&live, 4, 5);
    assert!(
        (650..750).contains(&spilled[0]),
        "half of them take 70 %: {spilled:?}"
    );
    assert_eq!(spilled[0] + spilled[1], 1_000);
    eject(&live, 2..4);
    assert_eq!(shares(&live, 4, 5), [0, 1_000, 0, 0, 0], "the same zone");
    eject(&live, 4..8);
    assert_eq!(shares(&live, 4, 5), [0, 0, 1_000, 0, 0], "the same region");
    eject(&live, 8..12);
    assert_eq!(shares(&live, 4, 5), [0, 0, 0, 0, 1_000], "who stands in");
    eject(&live, 16..20);
    assert_eq!(shares(&live, 4, 5), [0, 0, 0, 1_000, 0], "anybody");
    eject(&live, 12..16);
    assert_eq!(shares(&live, 4, 5), [0; 5]);
}

#[test]
fn istios_own_label_and_a_caller_who_is_nowhere() {
    let live = near("", "istio-locality=us.a.1");
    assert_eq!(shares(&live, 4, 5), [0, 0, 0, 1_000, 0]);
    let live = near("", "");
    assert_eq!(shares(&live, 4, 5), [200; 5]);
    let live = near("enabled: false", "istio-locality=us.a.1");
    assert_eq!(shares(&live, 4, 5), [200; 5]);
}

#[test]
fn nothing_fails_over_unless_somebody_watches() {
    let cluster = cluster_of(&localities(4, &NAMES), "", "istio-locality=us.a.1");
    let live = Arc::new(Live::new(&cluster, None, BEGIN));
    assert_eq!(shares(&live, 4, 5), [200; 5]);
}

#[test]
fn shares_of_localities() {
    let setting = "distribute: [{from: us/*, to: {'us/*': 100}}, {from: eu/a/*, to: {'eu/a/*': 70, 'eu/b/1': 20, us: 10}}]";
    let live = near(setting, "topology.istio.io/locality=eu/a/1");
    let spread = shares(&live, 4, 5);
    for (found, expected) in spread.iter().zip([350, 350, 200, 100, 0_u32]) {
        assert!(found.abs_diff(expected) < 45, "{spread:?}");
    }
    assert_eq!(spread[4], 0);
    eject(&live, 8..12);
    let without = shares(&live, 4, 5);
    assert!(
        without[3].abs_diff(125) < 45,
        "80 and 10 of 90: {without:?}"
    );
    assert_eq!(without[2], 0);
}

#[test]
fn those_with_the_most_labels_first() {
    let policy = format!(
        "{WATCH}, loadBalancer: {{localityLbSetting: {{failoverPriority: [network=n1, version]}}}}"
    );
    let names = [
        "network: n1, version: v2",
        "network: n1, version: v1",
        "network: n2, version: v2",
    ];
    let cluster = cluster_of(&localities(2, &names), &policy, "version=v2");
    let live = Arc::new(Live::new(&cluster, None, BEGIN));
    assert_eq!(shares(&live, 2, 3), [1_000, 0, 0]);
    eject(&live, 0..2);
    assert_eq!(shares(&live, 2, 3), [0, 1_000, 0]);
    eject(&live, 2..4);
    // The first label decides: whoever lacks it has the lowest priority, whatever else it has.
    assert_eq!(shares(&live, 2, 3), [0, 0, 1_000]);
}
