//! A route that is called unreachable is never found, whatever is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    reason = "a failed test is a panic, and a test may allocate"
)]

mod support;

use http::{HeaderMap, HeaderName};
use policies::advice::advise;
use policies::check::check;
use policies::load::load;
use policies::route::{Proxy, RequestView, RouteAction, RouteTable};
use policies::source::SourceFile;
use proptest::prelude::*;
use support::{edge, mesh};

/// Rules as `match` elements; rule `n` answers with status 200 + n.
fn document(rules: &[Vec<String>]) -> String {
    let mut text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  servers:\n\
        \x20   - {port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}\n\
        ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n\
        \x20 hosts: [a.example.com]\n  gateways: [g]\n  http:\n"
        .to_owned();
    for (number, matches) in rules.iter().enumerate() {
        let status = 200 + number;
        let matches = if matches.is_empty() {
            String::new()
        } else {
            format!("match: [{}], ", matches.join(", "))
        };
        text.push_str(&format!(
            "    - {{{matches}directResponse: {{status: {status}}}}}\n"
        ));
    }
    text
}

/// The numbers of the rules that the advice calls unreachable, and those of shadowed matches as (rule, match).
fn advice(text: &str) -> (Vec<usize>, Vec<(usize, usize)>) {
    let loaded = load(&[SourceFile::new("f", text)], &mesh());
    assert!(!loaded.has_errors(), "{:?}\n{text}", loaded.diagnostics);
    let (registry, _) = check(&loaded.documents, &mesh());
    let mut unreachable = Vec::new();
    let mut shadowed = Vec::new();
    for finding in advise(&loaded.documents, &registry, &mesh()) {
        let numbers: Vec<usize> = finding
            .path
            .split(['[', ']'])
            .filter_map(|part| part.parse().ok())
            .collect();
        match finding.code.to_string().as_str() {
            "PC0610" => unreachable.push(numbers[0]),
            "PC0611" => shadowed.push((numbers[0], numbers[1])),
            _ => {}
        }
    }
    (unreachable, shadowed)
}

#[derive(Clone, Debug)]
struct Request {
    path: String,
    query: Option<String>,
    method: &'static str,
    headers: Vec<(&'static str, String)>,
}

fn request() -> impl Strategy<Value = Request> {
    (
        "/[aAb/]{0,4}",
        proptest::option::of("(q=[ab]{0,2}(&p=[ab])?|p)"),
        prop_oneof![Just("GET"), Just("POST")],
        proptest::collection::vec((prop_oneof![Just("x-a"), Just("x-b")], "[ab]{0,2}"), 0..3),
    )
        .prop_map(|(path, query, method, headers)| Request {
            path,
            query,
            method,
            headers,
        })
}

fn text_match(word: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        word.prop_map(|text| format!("{{exact: \"{text}\"}}")),
        word.prop_map(|text| format!("{{prefix: \"{text}\"}}")),
        (
            word,
            prop_oneof![Just(".*"), Just(""), Just("[ab]"), Just("a?"), Just("+")]
        )
            .prop_filter("a sign needs something before it", |(text, end)| !(text
                .is_empty()
                && *end == "+"))
            .prop_map(|(text, end)| format!("{{regex: \"{text}{end}\"}}")),
    ]
}

fn value_match() -> impl Strategy<Value = String> {
    prop_oneof![3 => text_match("[ab]{1,2}"), 1 => Just("{}".to_owned())]
}

fn element() -> impl Strategy<Value = String> {
    let uri = proptest::option::of((text_match("/[aAb/]{0,3}"), any::<bool>()));
    let method = proptest::option::of(prop_oneof![
        Just("{exact: GET}".to_owned()),
        Just("{regex: GET|POST}".to_owned())
    ]);
    let header = proptest::option::of((prop_oneof![Just("x-a"), Just("x-b")], value_match()));
    let without = proptest::option::of((prop_oneof![Just("x-a"), Just("x-b")], value_match()));
    let query = proptest::option::of((prop_oneof![Just("q"), Just("p")], value_match()));
    let port = proptest::option::weighted(0.1, prop_oneof![Just(80), Just(81)]);
    (uri, method, header, without, query, port).prop_map(
        |(uri, method, header, without, query, port)| {
            let mut parts = Vec::new();
            if let Some((uri, ignore)) = uri {
                parts.push(format!("uri: {uri}"));
                if ignore {
                    parts.push("ignoreUriCase: true".to_owned());
                }
            }
            parts.extend(method.map(|method| format!("method: {method}")));
            parts.extend(header.map(|(name, found)| format!("headers: {{{name}: {found}}}")));
            parts.extend(
                without.map(|(name, found)| format!("withoutHeaders: {{{name}: {found}}}")),
            );
            parts.extend(query.map(|(name, found)| format!("queryParams: {{{name}: {found}}}")));
            parts.extend(port.map(|port| format!("port: {port}")));
            format!("{{{}}}", parts.join(", "))
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Vec<String>>> {
    proptest::collection::vec(proptest::collection::vec(element(), 0..3), 2..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn what_is_called_unreachable_is_never_found(
        rules in rules(),
        requests in proptest::collection::vec(request(), 40),
    ) {
        let text = document(&rules);
        let (unreachable, _) = advice(&text);
        let loaded = load(&[SourceFile::new("f", text.as_str())], &mesh());
        let (registry, _) = check(&loaded.documents, &mesh());
        let proxy = Proxy::Gateway { workload: &edge() };
        let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh(), proxy);
        for request in &requests {
            let mut headers = HeaderMap::new();
            for (name, value) in &request.headers {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let found = compiled.routes.find(&RequestView {
                host: "a.example.com",
                port: 80,
                path: &request.path,
                query: request.query.as_deref(),
                method: request.method,
                scheme: "http",
                headers: &headers,
                claims: None,
            });
            let Some(route) = found else { continue };
            let RouteAction::DirectResponse(answer) = &route.action else { panic!("an answer") };
            let rule = usize::from(answer.status.as_u16()) - 200;
            prop_assert!(!unreachable.contains(&rule), "{request:?} is answered by rule {rule}\n{text}");
        }
    }
}

fn unreachable(rules: &[&[&str]]) -> Vec<usize> {
    let rules: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| rule.iter().map(|element| (*element).to_owned()).collect())
        .collect();
    advice(&document(&rules)).0
}

#[test]
fn shadows_that_are_seen() {
    for (first, second) in [
        ("", "{uri: {exact: /a}}"),
        ("{uri: {prefix: /}}", "{uri: {exact: /a}}"),
        ("{uri: {regex: '.*'}}", "{method: {exact: GET}}"),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a}}"),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}"),
        ("{uri: {prefix: /a}}", "{uri: {exact: /ab}}"),
        ("{uri: {prefix: /a}}", "{uri: {regex: '/a/[0-9]+'}}"),
        ("{uri: {regex: '/a/.*'}}", "{uri: {prefix: /a/b}}"),
        ("{uri: {regex: '/a/[0-9]+'}}", "{uri: {exact: /a/42}}"),
        (
            "{uri: {prefix: /A}, ignoreUriCase: true}",
            "{uri: {prefix: /ab}}",
        ),
        (
            "{uri: {exact: /A}, ignoreUriCase: true}",
            "{uri: {exact: /a}}",
        ),
        (
            "{method: {regex: 'GET|HEAD'}}",
            "{method: {exact: GET}, uri: {exact: /a}}",
        ),
        ("{headers: {x-a: {}}}", "{headers: {x-a: {exact: b}}}"),
        (
            "{headers: {x-a: {prefix: a}}}",
            "{headers: {x-a: {exact: ab}, x-b: {}}}",
        ),
        (
            "{withoutHeaders: {x-a: {exact: b}}}",
            "{withoutHeaders: {x-a: {}}}",
        ),
        ("{queryParams: {q: {}}}", "{queryParams: {q: {exact: a}}}"),
    ] {
        let first: &[&str] = if first.is_empty() { &[] } else { &[first] };
        assert_eq!(unreachable(&[first, &[second]]), [1], "{first:?} {second}");
    }
    // Every match of a rule has to be taken.
    assert!(
        unreachable(&[
            &["{uri: {prefix: /a}}"],
            &["{uri: {prefix: /a/b}}", "{uri: {exact: /c}}"],
        ])
        .is_empty()
    );
}

#[test]
fn what_is_reachable_is_left_alone() {
    for (first, second) in [
        ("{uri: {exact: /a}}", "{uri: {prefix: /a}}"),
        ("{uri: {prefix: /a/}}", "{uri: {prefix: /a}}"),
        (
            "{uri: {prefix: /a}}",
            "{uri: {prefix: /A}, ignoreUriCase: true}",
        ),
        ("{uri: {prefix: /ab}}", "{uri: {regex: '/ab?'}}"),
        ("{uri: {prefix: /a}}", "{uri: {regex: '/a|/b'}}"),
        ("{headers: {x-a: {exact: 'true'}}}", ""),
        ("{method: {exact: GET}}", "{uri: {prefix: /a}}"),
        (
            "{withoutHeaders: {x-a: {}}}",
            "{withoutHeaders: {x-a: {exact: b}}}",
        ),
        ("{port: 80}", "{uri: {prefix: /a}}"),
    ] {
        let second: &[&str] = if second.is_empty() { &[] } else { &[second] };
        assert!(
            unreachable(&[&[first], second]).is_empty(),
            "{first} {second:?}"
        );
    }
}

#[test]
fn a_match_beside_which_another_has_no_effect() {
    let rules = [vec![
        "{uri: {prefix: /a}}".to_owned(),
        "{uri: {exact: /a/b}}".to_owned(),
    ]];
    assert_eq!(advice(&document(&rules)), (vec![], vec![(0, 1)]));
}
