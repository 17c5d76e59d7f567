//! Weights over texts as people write them: found, reckoned, set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use proptest::prelude::*;

use super::*;

const FILE: &str = "# Ours.
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: my-app}
spec:
  hosts: [shop]
  http:
    - name: canary
      route:
        - destination: {host: shop, subset: v2}
    - name: split # the others
      route:
        - destination:
            host: shop
            subset: v1   # old
          weight: 90  # ninety
        - destination:
            host: shop.my-app.svc.cluster.local
            subset: v2
          weight: 10
      timeout: 10s
---
# Not ours.
kind: Other
apiVersion: x/v1
";

fn file(text: &str) -> SourceFile {
    SourceFile::new("a.yaml", text)
}

fn is_shop(host: &str) -> bool {
    host == "shop" || host.starts_with("shop.")
}

fn wanted(asked: &[(&str, u32)]) -> Vec<(String, u32)> {
    let each = asked.iter();
    each.map(|(subset, weight)| ((*subset).to_owned(), *weight))
        .collect()
}

/// The text after every divided route of it was asked for this.
fn set(text: &str, asked: &[(&str, u32)]) -> Option<String> {
    let file = file(text);
    let found = splits_of(&file);
    let mut all = Vec::new();
    for split in found.iter().flat_map(|(_, splits)| splits) {
        if split.is_divided() {
            let weights = split.reckon(&wanted(asked), is_shop).unwrap();
            all.extend(split.destinations.iter().zip(weights));
        }
    }
    set_weights(&file, &all)
}

#[test]
fn routes_are_found_with_the_place_of_each_weight() {
    let found = splits_of(&file(FILE));
    let (document, splits) = &found[0];
    assert_eq!((found.len(), document.name.as_str()), (1, "shop"));
    let told: Vec<_> = splits
        .iter()
        .map(|split| (split.index, split.name.as_deref().unwrap(), split.weights()))
        .collect();
    assert_eq!(told, [(0, "canary", vec![100]), (1, "split", vec![90, 10])]);
    let places: Vec<_> = splits
        .iter()
        .flat_map(|split| &split.destinations)
        .map(|to| (to.subset.as_deref().unwrap(), to.at.line))
        .collect();
    assert_eq!(places, [("v2", 10), ("v1", 16), ("v2", 20)]);
}

#[test]
fn only_the_numbers_change() {
    let after = set(FILE, &[("v2", 25)]).unwrap();
    let expected = FILE
        .replace("weight: 90", "weight: 75")
        .replace("weight: 10\n", "weight: 25\n");
    assert_eq!(after, expected);
    assert_eq!(set(FILE, &[("v2", 10)]).unwrap(), FILE);
    let windows = format!("\u{feff}{}", FILE.replace('\n', "\r\n"));
    let expected = format!("\u{feff}{}", expected.replace('\n', "\r\n"));
    assert_eq!(set(&windows, &[("v2", 25)]).unwrap(), expected);
}

#[test]
fn a_weight_that_is_not_written_is_put_beside_its_destination() {
    let text = FILE.replace("          weight: 10\n", "");
    assert_eq!(
        set(&text, &[("v2", 10)]).unwrap(),
        FILE,
        "behind the destination, in the column of its key"
    );
    let text = FILE
        .replace("          weight: 90  # ninety\n", "")
        .replace('\n', "\r\n");
    let after = set(&text, &[("v2", 40)]).unwrap();
    assert!(
        after.contains("            subset: v1   # old\r\n          weight: 60\r\n"),
        "{after}"
    );
    let flow = "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {http: [{route: \
                [{destination: {host: shop, subset: v1}, weight: 100}, {destination: {host: shop, subset: v2}}]}]}}\n";
    let after = set(flow, &[("v2", 5)]).unwrap();
    assert_eq!(
        after,
        flow.replace("weight: 100", "weight: 95").replace(
            "{destination: {host: shop, subset: v2}}",
            "{weight: 5, destination: {host: shop, subset: v2}}"
        )
    );
}

#[test]
fn json_and_lists_are_edited_in_place_too() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "networking.istio.io/v1",
 "kind": "VirtualService", "metadata": {"name": "a"}, "spec": {"http": [{"route": [
  {"destination": {"host": "shop", "subset": "v1"}, "weight": 70},
  {"destination": {"host": "shop", "subset": "v2"}}]}]}}]}
"#;
    let after = set(json, &[("v2", 50)]).unwrap();
    let expected = json.replace("\"weight\": 70", "\"weight\": 50").replace(
        "{\"destination\": {\"host\": \"shop\", \"subset\": \"v2\"}}",
        "{\"weight\": 50, \"destination\": {\"host\": \"shop\", \"subset\": \"v2\"}}",
    );
    assert_eq!(after, expected);
    assert!(serde_json::from_str::<serde_json::Value>(&after).is_ok());
}

#[test]
fn what_an_alias_repeats_changes_with_it_or_not_at_all() {
    let text = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  http:
    - match: [{uri: {exact: /a}}]
      route: &both
        - {destination: {host: shop, subset: v1}, weight: 90}
        - {destination: {host: shop, subset: v2}, weight: 10}
    - route:
        - {destination: {host: shop, subset: v1}, weight: 50}
        - {destination: {host: shop, subset: v2}, weight: 50}
    - route: *both
";
    let file = file(text);
    let found = splits_of(&file);
    let splits = &found[0].1;
    assert_eq!(splits.len(), 3);
    // The first route's numbers are the third's as well.
    let weights = splits[0].reckon(&wanted(&[("v2", 20)]), is_shop).unwrap();
    let each = splits[0].destinations.iter().zip(weights);
    assert_eq!(set_weights(&file, &each.collect::<Vec<_>>()), None);
    let weights = splits[1].reckon(&wanted(&[("v2", 20)]), is_shop).unwrap();
    let each = splits[1].destinations.iter().zip(weights);
    assert_eq!(
        set_weights(&file, &each.collect::<Vec<_>>()).unwrap(),
        text.replacen("weight: 50", "weight: 80", 1)
            .replacen("weight: 50", "weight: 20", 1)
    );
    // All of them alike is what the text can say.
    let after = set(text, &[("v2", 30)]).unwrap();
    assert_eq!(after.matches("weight: 30").count(), 2, "{after}");
}

fn split(destinations: &[(&str, Option<&str>, u32)]) -> Split {
    let each = destinations.iter().map(|(host, subset, weight)| {
        let subset = subset.map_or_else(String::new, |subset| format!(", subset: {subset}"));
        format!("    - {{destination: {{host: {host}{subset}}}, weight: {weight}}}\n")
    });
    let text = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec:\n  http:\n  - route:\n{}",
        each.collect::<String>()
    );
    splits_of(&file(&text)).remove(0).1.remove(0)
}

#[test]
fn the_others_share_the_rest_in_proportion() {
    let three = split(&[
        ("shop", Some("v1"), 60),
        ("shop", Some("v2"), 10),
        ("shop", Some("v3"), 30),
    ]);
    let reckon = |split: &Split, asked: &[(&str, u32)]| split.reckon(&wanted(asked), is_shop);
    assert_eq!(reckon(&three, &[("v2", 40)]).unwrap(), [40, 40, 20]);
    assert_eq!(reckon(&three, &[("v2", 0)]).unwrap(), [67, 0, 33]);
    assert_eq!(reckon(&three, &[("v2", 100)]).unwrap(), [0, 100, 0]);
    assert_eq!(reckon(&three, &[("v1", 1), ("v2", 2)]).unwrap(), [1, 2, 97]);
    // Nobody to share with in proportion: evenly.
    let all_on_one = split(&[
        ("shop", Some("v1"), 100),
        ("shop", Some("v2"), 0),
        ("shop", Some("v3"), 0),
    ]);
    assert_eq!(reckon(&all_on_one, &[("v1", 25)]).unwrap(), [25, 38, 37]);
    // The subset of another host is another subset.
    let mixed = split(&[("shop", Some("v1"), 50), ("till", Some("v1"), 50)]);
    assert_eq!(reckon(&mixed, &[("v1", 20)]).unwrap(), [20, 80]);
    assert_eq!(
        reckon(&three, &[("v4", 1)]),
        Err(Unset::Lacks("v4".to_owned()))
    );
    let two = split(&[("shop", Some("v1"), 90), ("shop", Some("v2"), 10)]);
    assert_eq!(reckon(&two, &[("v1", 50), ("v2", 25)]), Err(Unset::Sum(75)));
    assert_eq!(
        reckon(&two, &[("v1", 60), ("v2", 60)]),
        Err(Unset::Sum(120))
    );
    assert_eq!(reckon(&two, &[("v1", 60), ("v2", 40)]).unwrap(), [60, 40]);
}

proptest! {
    #[test]
    fn parts_come_to_the_whole(total in 0_u32..=1_000, weights in prop::collection::vec(0_u32..=u32::MAX, 1..9)) {
        let parts = share(total, &weights);
        prop_assert_eq!(parts.len(), weights.len());
        prop_assert_eq!(parts.iter().sum::<u32>(), total);
        let any = weights.iter().any(|weight| *weight > 0);
        for (part, weight) in parts.iter().zip(&weights) {
            prop_assert!(!any || *weight > 0 || *part == 0);
        }
    }
}
