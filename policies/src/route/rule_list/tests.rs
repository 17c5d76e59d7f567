//! The rule that the index finds is the rule that looking at one after the other finds.

use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::route::{DirectResponse, RouteAction};
use crate::source::Location;

/// Paths that nest, differ in case and share beginnings.
fn path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["/", "/a", "/A", "a", "b", "/ab", "é", "/a/b/c"]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn uri() -> impl Strategy<Value = Option<Text>> {
    let regex = prop::sample::select(vec!["/a.*", ".*b", "[^/]*", "(/[aA])+", "x", ".*"]);
    prop_oneof![
        1 => Just(None),
        4 => path().prop_map(|path| Some(Text::Exact(path.into()))),
        2 => path().prop_map(|path| Some(Text::ExactIgnoreCase(path.into()))),
        6 => path().prop_map(|path| Some(Text::Prefix(path.into()))),
        3 => path().prop_map(|path| Some(Text::PrefixIgnoreCase(path.into()))),
        2 => regex.prop_map(|regex| {
            Some(Text::Regex(Arc::new(Regex::new(&format!("\\A(?:{regex})\\z")).unwrap())))
        }),
        1 => Just(Some(Text::Present)),
        1 => Just(Some(Text::Never)),
    ]
}

/// Nothing beyond the path, or one of the other conditions.
fn condition() -> impl Strategy<Value = Condition> {
    let method = prop::sample::select(vec!["GET", "POST"]);
    let value = || prop::sample::select(vec!["1", "2"]);
    let beyond = prop_oneof![
        4 => Just(Condition::default()),
        2 => method.prop_map(|method| Condition {
            method: Some(Text::Exact(method.into())),
            ..Condition::default()
        }),
        2 => value().prop_map(|value| Condition {
            headers: [("x".parse().unwrap(), Text::Exact(value.into()))].into(),
            ..Condition::default()
        }),
        1 => Just(Condition {
            without_headers: [("x".parse().unwrap(), Text::Present)].into(),
            ..Condition::default()
        }),
        1 => value().prop_map(|value| Condition {
            query_params: [("q".into(), Text::Prefix(value.into()))].into(),
            ..Condition::default()
        }),
        1 => Just(Condition { port: Some(80), ..Condition::default() }),
        1 => Just(Condition {
            scheme: Some(Text::Exact("https".into())),
            authority: Some(Text::Exact("h".into())),
            ..Condition::default()
        }),
    ];
    (uri(), beyond).prop_map(|(uri, beyond)| Condition { uri, ..beyond })
}

fn rule(condition: Condition) -> CompiledRule {
    let action = RouteAction::DirectResponse(DirectResponse {
        status: StatusCode::OK,
        body: [].into(),
    });
    let route = HttpRoute::new("a/b".into(), Location::new("a.yaml", 1, 1), action);
    CompiledRule {
        condition,
        route: Arc::new(route),
    }
}

/// Where in the list the found rule stands.
fn number(list: &RuleList, found: Option<&CompiledRule>) -> Option<usize> {
    found.map(|found| {
        let mut rules = list.iter();
        rules.position(|rule| std::ptr::eq(rule, found)).unwrap()
    })
}

fn assert_alike(list: &RuleList, request: &RequestView<'_>) {
    assert!(list.by_path.is_some(), "long enough for an index");
    let expected = number(list, list.find_one_by_one(request));
    assert_eq!(number(list, list.find(request)), expected, "{request:?}");
}

fn view<'a>(path: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView {
        host: "h",
        port: 80,
        path,
        query: None,
        method: "GET",
        scheme: "http",
        headers,
        claims: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_index_finds_the_first_match(
        conditions in prop::collection::vec(condition(), FEW + 1..60),
        requests in prop::collection::vec(
            (path(), any::<bool>(), 0..3_u8, prop::option::of("q=[123]|z"), any::<bool>(), any::<bool>()),
            20,
        ),
    ) {
        let list = RuleList::new(conditions.into_iter().map(rule).collect());
        for (path, post, header, query, https, other_port) in &requests {
            let mut headers = HeaderMap::new();
            if *header > 0 {
                headers.insert("x", HeaderValue::from(u32::from(*header)));
            }
            assert_alike(&list, &RequestView {
                port: if *other_port { 81 } else { 80 },
                query: query.as_deref(),
                method: if *post { "POST" } else { "GET" },
                scheme: if *https { "https" } else { "http" },
                ..view(path, &headers)
            });
        }
    }
}

#[test]
fn prefixes_that_nest_very_deep_are_as_right_as_others() {
    let condition = |length: usize, method: Option<&str>| Condition {
        uri: Some(Text::Prefix("/a".repeat(length).into())),
        method: method.map(|method| Text::Exact(method.into())),
        ..Condition::default()
    };
    let headers = HeaderMap::new();
    // Shortest first hides all others; longest first hides none; and in between with conditions.
    let ways: [Vec<Condition>; 3] = [
        (1..2_000).map(|length| condition(length, None)).collect(),
        (1..2_000)
            .rev()
            .map(|length| condition(length, None))
            .collect(),
        (1..2_000)
            .map(|length| condition(length, (length % 100 > 0).then_some("POST")))
            .collect(),
    ];
    for conditions in ways {
        let list = RuleList::new(conditions.into_iter().map(rule).collect());
        for length in [0, 1, 2, 99, 100, 101, 1_000, 1_998, 1_999, 5_000] {
            for end in ["", "/", "/b", "/aa", "/a/b", "b"] {
                let path = format!("{}{end}", "/a".repeat(length));
                assert_alike(&list, &view(&path, &headers));
            }
        }
    }
}

#[test]
fn what_never_answers_is_not_kept() {
    let mut conditions: Vec<Condition> = (0..20)
        .map(|_| Condition {
            uri: Some(Text::Prefix("/a".into())),
            ..Condition::default()
        })
        .collect();
    conditions.push(Condition::default());
    let list = RuleList::new(conditions.into_iter().map(rule).collect());
    let by_path = list.by_path.as_ref().unwrap();
    assert_eq!(by_path.prefix.of("/ab").next().unwrap().rules, [0]);
    assert_eq!(*by_path.others, [20]);
    let headers = HeaderMap::new();
    assert_eq!(number(&list, list.find(&view("/b", &headers))), Some(20));
}
