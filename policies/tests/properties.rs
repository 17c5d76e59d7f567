//! Properties: nothing panics on any text, hosts match as a naive reader would, routes are found as by a plain scan.
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
use policies::check::check;
use policies::host::HostPattern;
use policies::listener::GatewayListeners;
use policies::load::load;
use policies::route::{Proxy, RouteAction, RouteTable};
use policies::source::SourceFile;
use proptest::prelude::*;
use support::{edge, gateway, mesh, seeds_002, with_headers, workload};

/// Everything that a process does with a text.
fn swallow(text: &str) {
    let file = SourceFile::new("any.yaml", text);
    let loaded = load(std::slice::from_ref(&file), &mesh());
    let (registry, diagnostics) = check(&loaded.documents, &mesh());
    let own = workload("order-service", "my-app", &[]);
    for proxy in [
        Proxy::Gateway { workload: &edge() },
        Proxy::Sidecar { workload: &own },
    ] {
        drop(RouteTable::compile(
            &loaded.documents,
            &registry,
            &mesh(),
            proxy,
        ));
    }
    drop(policies::diagnostic::render(
        &diagnostics,
        std::slice::from_ref(&file),
    ));
    drop(GatewayListeners::compile(
        &loaded.documents,
        &edge(),
        &mesh(),
    ));
    for diagnostic in &loaded.diagnostics {
        let line = diagnostic.to_string();
        assert!(!line.contains('\n'), "one line: {line:?}");
        assert!(diagnostic.at.line >= 1 && diagnostic.at.column >= 1);
        drop(serde_json::to_string(diagnostic).unwrap());
    }
    drop(policies::diagnostic::render(&loaded.diagnostics, &[file]));
}

/// The seeds' documents and more shapes, to be damaged.
fn material() -> String {
    let more = "---\napiVersion: v1\nkind: List\nitems:\n- &a {apiVersion: portcullis.dev/v1, kind: RegistrationEntry, metadata: \
        {name: x}, spec: {spiffeID: \"spiffe://a/b\", selectors: ['t:v'], x509SVIDTTL: 1h}}\n- *a\n- <<: *a\n  kind: Gateway\n";
    format!("{}{more}", seeds_002())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        swallow(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_yaml_like_text_is_survived(text in "[-:{}\\[\\]&*!|>'\"%@`#,? \n\tabkind:/~<=.0-9]{0,200}") {
        swallow(&text);
    }

    #[test]
    fn damaged_documents_are_survived(cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3_u8), 1..8)) {
        let mut characters: Vec<char> = material().chars().collect();
        for (place, new, what) in cuts {
            let place = place.index(characters.len());
            match what {
                0 => { characters.remove(place); }
                1 => characters.insert(place, new),
                _ => characters[place] = new,
            }
        }
        swallow(&characters.into_iter().collect::<String>());
    }
}

/// A host of few letters, so that hosts meet patterns often.
fn host() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 1..5).prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![3 => host(), 3 => host().prop_map(|host| format!("*.{host}")), 1 => Just("*".to_owned())]
}

/// Host matching as one would explain it.
fn naive_match(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
    }
}

#[derive(Clone, Debug)]
struct Rule {
    prefix: Option<String>,
    exact: Option<String>,
    method: Option<&'static str>,
    header: Option<(&'static str, &'static str)>,
}

impl Rule {
    fn yaml(&self, number: usize) -> String {
        let mut parts = Vec::new();
        if let Some(prefix) = &self.prefix {
            parts.push(format!("uri: {{prefix: \"{prefix}\"}}"));
        } else if let Some(exact) = &self.exact {
            parts.push(format!("uri: {{exact: \"{exact}\"}}"));
        }
        parts.extend(
            self.method
                .map(|method| format!("method: {{exact: {method}}}")),
        );
        parts.extend(
            self.header
                .map(|(name, value)| format!("headers: {{{name}: {{exact: \"{value}\"}}}}")),
        );
        format!(
            "    - match: [{{{}}}]\n      directResponse: {{status: {}}}\n",
            parts.join(", "),
            200 + number
        )
    }

    fn matches(&self, path: &str, method: &str, headers: &[(&str, &str)]) -> bool {
        let path = match (&self.prefix, &self.exact) {
            (Some(prefix), _) => path.starts_with(prefix.as_str()),
            (None, Some(exact)) => path == exact,
            _ => true,
        };
        path && self.method.is_none_or(|wanted| wanted == method)
            && self.header.is_none_or(|wanted| headers.contains(&wanted))
    }

    fn is_catch_all(&self) -> bool {
        self.method.is_none()
            && self.header.is_none()
            && match (&self.prefix, &self.exact) {
                (Some(prefix), _) => prefix == "/",
                (None, exact) => exact.is_none(),
            }
    }
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 0..3).prop_map(|parts| format!("/{}", parts.join("/")))
}

fn rule() -> impl Strategy<Value = Rule> {
    let method = prop_oneof![Just(None), Just(Some("GET")), Just(Some("POST"))];
    let header =
        prop_oneof![3 => Just(None), 1 => Just(Some(("x-a", "1"))), 1 => Just(Some(("x-b", "2")))];
    (
        proptest::option::of(path()),
        proptest::option::of(path()),
        method,
        header,
    )
        .prop_map(|(prefix, exact, method, header)| Rule {
            prefix,
            exact,
            method,
            header,
        })
}

/// The hosts of a document, which must not overlap.
fn hosts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(pattern(), 1..4).prop_map(|patterns| {
        let mut hosts: Vec<String> = Vec::new();
        for pattern in patterns {
            let parsed = HostPattern::parse(&pattern);
            let overlaps = |other: &String| HostPattern::parse(other).intersect(&parsed).is_some();
            if !hosts.iter().any(overlaps) {
                hosts.push(pattern);
            }
        }
        hosts
    })
}

type Document = (Vec<String>, Vec<Rule>);

fn yaml(documents: &[Document]) -> String {
    let mut text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  servers:\n\
        \x20   - {port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}\n"
        .to_owned();
    let mut number = 0;
    for (position, (hosts, rules)) in documents.iter().enumerate() {
        text.push_str(&format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{position}}}\nspec:\n\
             \x20 hosts: {hosts:?}\n  gateways: [g]\n  http:\n"
        ));
        for rule in rules {
            text.push_str(&rule.yaml(number));
            number += 1;
        }
    }
    text
}

/// The reference: the best host wins, then its rules are tried one by one, catch-alls last.
fn naive_find(
    documents: &[Document],
    host: &str,
    path: &str,
    method: &str,
    headers: &[(&str, &str)],
) -> Option<u16> {
    let rank = |pattern: &str| match pattern.strip_prefix('*') {
        None => usize::MAX,
        Some(suffix) => suffix.len(),
    };
    let patterns = documents.iter().flat_map(|(hosts, _)| hosts);
    let best = patterns
        .filter(|pattern| naive_match(pattern, host))
        .max_by_key(|pattern| rank(pattern))?;
    let mut specific = Vec::new();
    let mut everything = Vec::new();
    let mut number = 0;
    for (hosts, rules) in documents {
        // Within a document nothing behind a catch-all is reached.
        let mut reached = true;
        for rule in rules {
            let kind = if rule.is_catch_all() {
                &mut everything
            } else {
                &mut specific
            };
            if hosts.contains(best) && reached {
                kind.push((number, rule));
            }
            reached &= !rule.is_catch_all();
            number += 1;
        }
    }
    let found = specific
        .into_iter()
        .chain(everything)
        .find(|(_, rule)| rule.matches(path, method, headers));
    found.map(|(number, _)| 200 + number)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn hosts_match_as_explained(pattern in pattern(), other in pattern(), host in host()) {
        prop_assert_eq!(HostPattern::parse(&pattern).matches(&host), naive_match(&pattern, &host));
        let both = HostPattern::parse(&pattern).intersect(&HostPattern::parse(&other));
        let naive = naive_match(&pattern, &host) && naive_match(&other, &host);
        prop_assert_eq!(both.is_some_and(|both| both.matches(&host)), naive);
    }

    #[test]
    fn routes_are_found_as_by_a_plain_scan(
        documents in proptest::collection::vec(
            (hosts(), proptest::collection::vec(rule(), 1..6)), 1..5),
        requests in proptest::collection::vec(
            (host(), path(), prop_oneof![Just("GET"), Just("POST")],
             proptest::collection::vec(prop_oneof![Just(("x-a", "1")), Just(("x-b", "2"))], 0..2)), 1..12),
    ) {
        let compiled = gateway(&yaml(&documents));
        for (host, path, method, headers) in requests {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            let mut view = with_headers(&host, &path, &map);
            view.method = method;
            support::explains(&compiled, &view);
            let found = compiled.routes.find(&view).map(|route| match &route.action {
                RouteAction::DirectResponse(response) => response.status.as_u16(),
                other => panic!("{other:?}"),
            });
            prop_assert_eq!(found, naive_find(&documents, &host, &path, method, &headers), "{} {} {}", host, path, method);
        }
    }
}

#[test]
fn bombs_are_defused() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let previous = format!("*a{}", level - 1);
        laughs.push_str(&format!(
            "a{level}: &a{level} [{}]\n",
            vec![previous; 9].join(", ")
        ));
    }
    let deep_flow = "[".repeat(100_000);
    let deep_block: String = "- ".repeat(50_000);
    let wide = format!("a: [{}]", "1,".repeat(300_000));
    let long = format!("a: {}", "x".repeat(3 << 20));
    let codes = |text: &str| -> Vec<String> {
        let loaded = load(&[SourceFile::new("bomb.yaml", text)], &mesh());
        loaded
            .diagnostics
            .iter()
            .map(|diagnostic| diagnostic.code.to_string())
            .collect()
    };
    for (name, text) in [
        ("laughs", &laughs),
        ("deep flow", &deep_flow),
        ("deep block", &deep_block),
        ("wide", &wide),
        ("long", &long),
    ] {
        assert_eq!(codes(text), ["PC0004"], "{name}");
    }
    assert_eq!(codes("a: &a [*a]\n"), ["PC0005"]);
    assert_eq!(codes("a: 1\nb: 2\na: 3\n"), ["PC0003"]);
    assert_eq!(codes("a:\n\tb: 1\n"), ["PC0001"]);
    assert_eq!(
        codes("\u{feff}apiVersion: v1\r\nkind: Service\r\nmetadata: {name: x}\r\n"),
        ["PC0104"]
    );
}
