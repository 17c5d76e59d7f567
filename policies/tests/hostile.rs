//! Hostile texts: bounded time, bounded output, a clear error with its place, and nothing raw on a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::disallowed_methods,
    reason = "a failed test is a panic, and a test may allocate"
)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use policies::check::check;
use policies::diagnostic::{Diagnostic, render};
use policies::listener::GatewayListeners;
use policies::load::load;
use policies::route::{Proxy, RouteTable};
use policies::source::SourceFile;
use support::{edge, mesh};

/// Far above what any of these texts takes on a slow machine in a debug build; a blow-up takes minutes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far above what findings about one text fill.
const MOST_OUTPUT: usize = 32 << 20;

/// Reads, compiles and shows a text as a process would; returns every finding.
fn swallow(text: &str) -> Vec<Diagnostic> {
    let begun = Instant::now();
    let file = SourceFile::new("hostile.yaml", text);
    let loaded = load(std::slice::from_ref(&file), &mesh());
    let (registry, more) = check(&loaded.documents, &mesh());
    let gateway = Proxy::Gateway { workload: &edge() };
    drop(RouteTable::compile(
        &loaded.documents,
        &registry,
        &mesh(),
        gateway,
    ));
    drop(GatewayListeners::compile(
        &loaded.documents,
        &edge(),
        &mesh(),
    ));
    let found: Vec<Diagnostic> = loaded.diagnostics.into_iter().chain(more).collect();
    let shown = render(&found, std::slice::from_ref(&file));
    assert!(shown.len() <= MOST_OUTPUT, "{} bytes of text", shown.len());
    safe_to_show(&shown, true);
    let mut json = 0;
    let widths = widths(text);
    for diagnostic in &found {
        safe_to_show(&diagnostic.to_string(), false);
        let line = serde_json::to_string(diagnostic).unwrap();
        safe_to_show(&line, false);
        json += line.len();
        within(diagnostic, &widths);
    }
    assert!(json <= MOST_OUTPUT, "{json} bytes of JSON");
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{took:?}");
    found
}

/// No character steers a terminal or reorders a line.
fn safe_to_show(text: &str, lines: bool) {
    for character in text.chars() {
        let bad = (character.is_control() && !(lines && character == '\n'))
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        assert!(
            !bad,
            "{character:?} is shown raw in {:?}",
            text.chars().take(2000).collect::<String>()
        );
    }
}

/// How long each line is, as YAML ends lines; a byte order mark is no column.
fn widths(text: &str) -> Vec<usize> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    unix.split('\n').map(|line| line.chars().count()).collect()
}

/// The place of a finding lies in the text; what is missing at the end stands behind the last line break.
fn within(diagnostic: &Diagnostic, widths: &[usize]) {
    let line = usize::try_from(diagnostic.at.line).unwrap();
    let column = usize::try_from(diagnostic.at.column).unwrap();
    assert!(line >= 1 && column >= 1, "{diagnostic}");
    let width = widths.get(line - 1);
    let width = width.unwrap_or_else(|| panic!("no line {line}: {diagnostic}"));
    assert!(
        column <= width + 1,
        "column {column} of {width}: {diagnostic}"
    );
}

fn codes(text: &str) -> Vec<String> {
    let found = swallow(text);
    let distinct: BTreeSet<String> = found
        .iter()
        .map(|diagnostic| diagnostic.code.to_string())
        .collect();
    distinct.into_iter().collect()
}

fn service_entry(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec:\n  hosts: [s.example.com]\n  \
         ports: [{{number: 80, name: http, protocol: HTTP}}]\n{spec}"
    )
}

fn virtual_service(http: &str) -> String {
    format!(
        "{}  resolution: DNS\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v}}\nspec:\n  \
         hosts: [s.example.com]\n  http:\n{http}",
        service_entry("")
    )
}

const ROUTE: &str = "    route: [{destination: {host: s.example.com}}]\n";

#[test]
fn copies_are_bounded_in_number_and_in_bytes() {
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 10_000].join(", ")
    );
    assert_eq!(codes(&long), ["PC0004"]);
    let keys = format!(
        "a: &a {{{}: 1}}\nb: [{}]\n",
        "k".repeat(900),
        vec!["*a"; 9_000].join(", ")
    );
    assert_eq!(codes(&keys), ["PC0004"]);
    let merges = format!(
        "a: &a {{{}}}\nb: [{}]\n",
        (0..500)
            .map(|n| format!("k{n}: 1"))
            .collect::<Vec<_>>()
            .join(", "),
        vec!["{<<: *a}"; 1_000].join(", ")
    );
    assert_eq!(codes(&merges), ["PC0004"]);
    let nested: String = (0..60).map(|n| format!("&a{n} [")).collect();
    let nested = format!(
        "a: {nested}1{}\nb: [{}]\n",
        "]".repeat(60),
        vec!["*a0"; 1_000].join(", ")
    );
    assert_eq!(codes(&nested), ["PC0004"]);
}

#[test]
fn anchors_end_with_their_document() {
    assert_eq!(codes("a: &x 1\n---\nb: *x\n"), ["PC0001", "PC0101"]);
    assert_eq!(codes("a: &x 1\n...\nb: *x\n"), ["PC0005", "PC0101"]);
    assert_eq!(codes("<<: [1, {a: 2}]\n"), ["PC0005"]);
    assert_eq!(codes("? [a]\n: 1\n"), ["PC0005"]);
    assert_eq!(codes("a: !!python/object:os.system x\n"), ["PC0005"]);
}

#[test]
fn many_small_documents_are_bounded() {
    let empty = "---\n".repeat(500_000);
    assert_eq!(codes(&empty), ["PC0004"]);
    let rubbish = "---\na\n".repeat(200_000);
    let found = swallow(&rubbish);
    assert!(found.len() < 2_000, "{}", found.len());
    let unfinished = "a: 1\na: 2\n...\n".repeat(200_000);
    let found = swallow(&unfinished);
    assert!(found.len() < 2_000, "{}", found.len());
    let strangers = "---\napiVersion: v1\nkind: Service\n".repeat(120_000);
    let found = swallow(&strangers);
    assert!(
        found.len() < 30_000 && found.iter().any(Diagnostic::is_error),
        "{}",
        found.len()
    );
    let broken = "---\n[\n".repeat(100_000);
    let found = swallow(&broken);
    assert!(found.len() < 2_000, "{}", found.len());
}

#[test]
fn many_mistakes_are_bounded() {
    let unknown: String = (0..150_000).map(|n| format!("  k{n}: 1\n")).collect();
    let found = swallow(&service_entry(&unknown));
    assert!(found.len() < 2_000, "{}", found.len());
    let doubled = "  hosts: [a]\n".repeat(150_000);
    let found = swallow(&service_entry(&doubled));
    assert!(found.len() < 2_000, "{}", found.len());
    let long_keys: String = (0..20_000)
        .map(|n| format!("  {}{n}: 1\n", "destinationrule".repeat(8)))
        .collect();
    let found = swallow(&service_entry(&long_keys));
    assert!(found.len() < 2_000, "{}", found.len());
    let huge_key = format!("  {}: 1\n", "k".repeat(1000));
    assert_eq!(codes(&service_entry(&huge_key)), ["PC0107", "PC0223"]);
    let one_line = format!("  resolution: [{}]\n", vec!["{a: 1}"; 60_000].join(", "));
    assert_eq!(codes(&service_entry(&one_line)), ["PC0109"]);
    let mistyped = format!("  addresses: [{}]\n", vec!["{}"; 100_000].join(", "));
    let found = swallow(&service_entry(&mistyped));
    assert!(found.len() < 2_000, "{}", found.len());
}

#[test]
fn huge_lists_are_read_or_refused_in_time() {
    let hosts = (0..50_000)
        .map(|n| format!("h{n}.example.com"))
        .collect::<Vec<_>>()
        .join(", ");
    swallow(&format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s}}\nspec:\n  hosts: [{hosts}]\n  resolution: DNS\n  \
         ports: [{{number: 80, name: http, protocol: HTTP}}]\n"
    ));
    let matches: String = (0..30_000)
        .map(|n| format!("    - uri: {{prefix: /p{n}}}\n"))
        .collect();
    swallow(&virtual_service(&format!("  - match:\n{matches}{ROUTE}")));
    let rules: String = (0..10_000)
        .map(|n| format!("  - match: [{{uri: {{exact: /p{n}}}}}]\n{ROUTE}"))
        .collect();
    swallow(&virtual_service(&rules));
    let blocks = (0..65_000)
        .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256))
        .collect::<Vec<_>>()
        .join(", ");
    swallow(&format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a}}\nspec:\n  rules: [{{from: [{{source: {{ipBlocks: [{blocks}]}}}}]}}]\n"
    ));
}

#[test]
fn many_hosts_of_a_gateway_meet_many_hosts_of_a_route() {
    let hosts = (0..5_000)
        .map(|n| format!("h{n}.example.com"))
        .collect::<Vec<_>>()
        .join(", ");
    swallow(&format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: g}}\nspec:\n  servers:\n  \
         - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{hosts}]}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: v}}\nspec:\n  gateways: [g]\n  hosts: [{hosts}]\n  http: [{{directResponse: {{status: 200}}}}]\n"
    ));
}

#[test]
fn regular_expressions_are_bounded() {
    for explosive in [
        "((a{100}){100}){100}",
        "(?i)\\\\pL{500}",
        "(\\\\w{200}){50}",
        "((((a*)*)*)*)*b",
        "[\\\\s\\\\S]{5000}",
        "(a?){1000}a{1000}",
        "(x+x+)+y",
    ] {
        swallow(&virtual_service(&format!(
            "  - match: [{{uri: {{regex: \"{explosive}\"}}}}]\n{ROUTE}"
        )));
    }
    let deep = "(".repeat(500) + &")".repeat(500);
    assert_eq!(
        codes(&virtual_service(&format!(
            "  - match: [{{uri: {{regex: \"{deep}\"}}}}]\n{ROUTE}"
        ))),
        ["PC0114"]
    );
    let long = "a".repeat(2000);
    assert_eq!(
        codes(&virtual_service(&format!(
            "  - match: [{{uri: {{regex: \"{long}\"}}}}]\n{ROUTE}"
        ))),
        ["PC0114"]
    );
    for bad in [
        "a)|(b",
        "(",
        "[",
        "(?=a)",
        "\\\\1",
        "(?P<n",
        "\\\\p{Nonsense}",
    ] {
        assert_eq!(
            codes(&virtual_service(&format!(
                "  - match: [{{uri: {{regex: \"{bad}\"}}}}]\n{ROUTE}"
            ))),
            ["PC0114"],
            "{bad}"
        );
    }
}

#[test]
fn many_heavy_regular_expressions_are_bounded() {
    let heavy: String = (0..2_000)
        .map(|n| format!("    - uri: {{regex: \"/{n}\\\\pL{{80}}\"}}\n"))
        .collect();
    let found = swallow(&virtual_service(&format!("  - match:\n{heavy}{ROUTE}")));
    assert!(
        found
            .iter()
            .any(|diagnostic| diagnostic.code.to_string() == "PC0114"),
        "2 000 regular expressions of 1 MiB each"
    );
}

#[test]
fn line_ends_and_marks_of_editors_are_tolerated() {
    let text = "\u{feff}# head\r\napiVersion: v1\r\nkind: Service\r\n---\r\napiVersion: v1\r\nkind: Service\r\n...\r\n";
    assert_eq!(codes(text), ["PC0104"]);
    assert_eq!(codes(""), Vec::<String>::new());
    assert_eq!(codes("\u{feff}"), Vec::<String>::new());
    assert_eq!(codes("# only a comment"), Vec::<String>::new());
    assert_eq!(
        codes(
            "%YAML 1.2\n---\napiVersion: v1\nkind: Service\n...\n%YAML 1.2\n---\napiVersion: v1\nkind: Service\n"
        ),
        ["PC0104"]
    );
}

#[test]
fn what_looks_different_from_what_it_means_is_refused() {
    for (text, place) in [
        ("a: 1\rb: 2\n", (1, 5)),
        ("a: 1\n# \u{202e}x\n", (2, 3)),
        ("a: \"\u{0}\"\n", (1, 5)),
        ("a: \u{1b}[31mred\n", (1, 4)),
        ("a: \u{2066}x\u{2069}\n", (1, 4)),
        ("a: x\u{85}b: y\n", (1, 5)),
        ("a: x\u{2028}b: y\n", (1, 5)),
        ("a: 1\n\u{feff}b: 2\n", (2, 1)),
    ] {
        let found = swallow(text);
        let first = found
            .iter()
            .find(|diagnostic| diagnostic.code.to_string() == "PC0030");
        let first = first.unwrap_or_else(|| panic!("{text:?}: {found:?}"));
        assert_eq!((first.at.line, first.at.column), place, "{text:?}");
        assert!(first.is_error());
    }
    let found = swallow("apiVersion: v1\nkind: Service\nmetadata: {name: admin\u{200b}}\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[1].to_string(),
        "hostile.yaml:3:23: warning[PC0031]: the text has a character that nobody sees: U+200B \
        (help: remove it, or write `\\u200b` in double quotes if it is meant)"
    );
}

#[test]
fn escaped_controls_do_not_reach_the_terminal() {
    for text in [
        "\"\\x1b[2J\": 1\napiVersion: v1\nkind: \"\\x1b[31m\"\n",
        "apiVersion: \"networking.istio.io/\\u202ev1\"\nkind: \"Virtual\\u202eService\"\n",
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: \"\\u202ex\", labels: {\"\\e]0;x\\a\": \"\\x9b31m\"}}\nspec: {\"a\\x1bb\": 1, servers: [{hosts: [\"\\x1b\"], \"\\u2066\": 1}]}\n",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {rules: [{when: [{key: \"request.headers[\\x1b]\", values: [\"\\x1b\"]}], to: [{operation: {methods: [\"\\x07\"], paths: [\"/{\\x1b}\"]}}]}]}\n",
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: \"\\x1b\", subsets: [{name: \"\\x1b\", labels: {\"\\x1b\": \"\\x1b\"}}]}\n",
    ] {
        swallow(text);
    }
    let file = SourceFile::new("a\u{1b}[31m\u{202e}.yaml", "a: \u{1b}[31m\n");
    let found = load(std::slice::from_ref(&file), &mesh()).diagnostics;
    safe_to_show(&render(&found, std::slice::from_ref(&file)), true);
    for diagnostic in &found {
        safe_to_show(&diagnostic.to_string(), false);
        safe_to_show(&serde_json::to_string(diagnostic).unwrap(), false);
    }
}

#[test]
fn numbers_that_readers_read_differently_are_refused() {
    for number in [
        "0777",
        "0o17",
        "1_000",
        "1e3",
        "1e999",
        ".inf",
        ".nan",
        "0x",
        "0x-1",
        "+",
        "99999999999999999999",
        "-1",
        "70000",
        "1.0",
        "y",
        "on",
        "2001-01-01",
        "0b1",
    ] {
        let text = service_entry("  resolution: DNS\n")
            .replace("number: 80", &format!("number: {number}"));
        let found = codes(&text);
        assert!(
            found == ["PC0109"] || found == ["PC0111"],
            "{number}: {found:?}"
        );
    }
    for number in ["80", "+80", "0x50"] {
        let text = service_entry("  resolution: DNS\n")
            .replace("number: 80", &format!("number: {number}"));
        assert_eq!(codes(&text), Vec::<String>::new(), "{number}");
    }
    for text in [
        "y", "N", "no", "1", "0777", "1e3", "null", "~", "0x1f", "1.5", ".inf",
    ] {
        let found = codes(&service_entry(&format!(
            "  resolution: DNS\n  location: {text}\n"
        )));
        assert!(
            found == ["PC0109"]
                || found == ["PC0110"]
                || found.is_empty() && ["null", "~"].contains(&text),
            "{text}: {found:?}"
        );
    }
    for duration in [
        "1e999s",
        "9999999999999h",
        "1",
        "-1s",
        "0s",
        "1d",
        "∞",
        "1s1",
        "0x1s",
        "1_0s",
    ] {
        let found = codes(&virtual_service(&format!(
            "  - timeout: {duration}\n{ROUTE}"
        )));
        assert_eq!(found, ["PC0111"], "{duration}");
    }
}

#[test]
fn tabs_are_explained() {
    let found = swallow("a:\n\tb: 1\n");
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].help.as_deref(),
        Some("indent with spaces: YAML does not allow tabs")
    );
}
