//! Documents as written: found, placed, copied.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn of(text: &str) -> Vec<RawDocument> {
    documents(&[SourceFile::new("a.yaml", text)])
}

#[test]
fn documents_are_found_with_their_lines() {
    let text = "# Head\n---\napiVersion: v1\nkind: A\nmetadata: {name: one}\nspec:\n  text: |\n    # not a comment\n    x\n\
                # Tail\n---\n# Own\nkind: B\napiVersion: g/v1\nmetadata:\n  name: two\n  namespace: n # why\n\n...\n\
                {kind: C, apiVersion: g/v2,\n metadata: {}\n}\n---\nnothing: here\n---\na: [\n";
    let found = of(text);
    let told: Vec<_> = found
        .iter()
        .map(|d| {
            let extent = d.extent.unwrap();
            (
                d.kind.as_str(),
                d.name.as_str(),
                d.namespace.as_deref(),
                extent.first,
                extent.last,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("A", "one", None, 3, 9),
            ("B", "two", Some("n"), 13, 17),
            ("C", "", None, 20, 22),
        ]
    );
    assert_eq!(found[0].value["spec"]["text"], "# not a comment\nx\n");
    assert_eq!(found[1].identity("default").to_string(), "B n/two");
    assert_eq!(found[0].identity("default").namespace, "default");
    assert_eq!((found[1].group(), found[0].group()), ("g", ""));
}

#[test]
fn a_block_text_at_the_end_is_part_of_its_document() {
    for (text, last) in [
        ("apiVersion: v1\nkind: A\nx: |\n  one\n  # two\n", 5),
        ("apiVersion: v1\nkind: A\nx: |\n  one\n\n\n# comment\n", 4),
        ("apiVersion: v1\nkind: A\nx: >-\n  one\n  two", 5),
        ("apiVersion: v1\nkind: A\nx: one\n  two\n---\n", 4),
        ("apiVersion: v1\nkind: A\nx:\n  - a\n  # comment\n", 4),
        ("apiVersion: v1\nkind: A\nx: \"one\n  two\"\n", 4),
        ("apiVersion: v1\nkind: A\nx:\n", 3),
        ("apiVersion: v1\nkind: A\nx: [\n ]\n", 4),
    ] {
        let extent = of(text)[0].extent.unwrap();
        // Blank lines at the end of a block text may be counted or not; content must be.
        assert!(extent.last >= last, "{text:?}: {extent:?}");
        let cut = extract(text, extent);
        assert_eq!(of(&cut)[0].value, of(text)[0].value, "{text:?}: {cut:?}");
        assert!(!cut.contains("# comment"), "{text:?}: {cut:?}");
    }
}

#[test]
fn the_items_of_a_list_are_documents() {
    let found = of(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: g/v1, kind: A, metadata: {name: x}}\n\
         - apiVersion: g/v1\n  kind: B\n  metadata: {name: y}\n",
    );
    let told: Vec<_> = found
        .iter()
        .map(|d| (&*d.kind, d.at.line, d.extent))
        .collect();
    assert_eq!(told, [("A", 4, None), ("B", 5, None)]);
}

#[test]
fn every_value_has_its_place() {
    let text = "apiVersion: v1\nkind: A\nspec:\n  list:\n  - a: 1\n    b.c: x\n  - [2]\n  none:\n";
    let (_, values) = values_of(&SourceFile::new("a.yaml", text)).remove(0);
    let told: Vec<_> = values
        .iter()
        .map(|(path, at)| (path.as_str(), at.line, at.column))
        .collect();
    assert_eq!(
        told[2..5],
        [
            ("spec.list[0].a", 5, 8),
            ("spec.list[0][\"b.c\"]", 6, 10),
            ("spec.list[1][0]", 7, 6)
        ]
    );
    assert_eq!(told[5].0, "spec.none");
}

#[test]
fn scalars_have_their_types() {
    let found = of(
        "apiVersion: v1\nkind: A\nx: [1, -2, 0x10, 1.5, 1e3, true, ~, null, '1', \"true\", 10s, yes, 18446744073709551615, !!str 5]\n",
    );
    assert_eq!(
        found[0].value["x"],
        json!([
            1,
            -2,
            16,
            1.5,
            1000.0,
            true,
            null,
            null,
            "1",
            "true",
            "10s",
            "yes",
            u64::MAX,
            "5"
        ])
    );
}

fn read_back(value: &Value) -> Value {
    let text = to_yaml(&json!({"apiVersion": "v1", "kind": "A", "value": value}));
    let found = of(&text);
    assert_eq!(found.len(), 1, "{text}");
    found[0].value["value"].clone()
}

#[test]
fn yaml_looks_like_that_of_kubectl() {
    let value = json!({
        "kind": "A",
        "spec": {"hosts": ["*", "a.b"], "http": [{"match": [{"uri": {"prefix": "/api/"}}], "timeout": "10s"}, {}], "on": true, "x": "on"},
    });
    assert_eq!(
        to_yaml(&value),
        "kind: A\nspec:\n  hosts:\n  - \"*\"\n  - a.b\n  http:\n  - match:\n    - uri:\n        prefix: /api/\n    timeout: 10s\n  - {}\n  \"on\": true\n  x: \"on\"\n"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,8}",
        Just("y".to_owned()),
        Just("2024-01-01".to_owned()),
        Just("12:30".to_owned()),
        Just("0o17".to_owned()),
        Just("a\n b\n".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z<:*&!% -]{1,4}|on|1|~", inner, 0..4)
                .prop_filter("a merge key merges", |map| !map.contains_key("<<"))
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn what_is_written_reads_back_the_same(value in any_json()) {
        prop_assert_eq!(read_back(&value), value);
    }
}
