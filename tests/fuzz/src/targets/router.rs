//! Routes of random documents, compared with a plain scan.

use http::{HeaderMap, HeaderName, HeaderValue};
use policies::diagnostic::Diagnostic;
use policies::load::load;
use policies::mesh::Mesh;
use policies::route::{Proxy, RequestView, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

use crate::choices::Choices;

const LABELS: &[&str] = &["a", "b", "api", "x"];
const SEGMENTS: &[&str] = &["", "a", "b", "ab", "a%20b", "A", "é"];
const METHODS: &[&str] = &["GET", "POST", "get"];
const NAMES: &[&str] = &["x-a", "x-b"];
const VALUES: &[&str] = &["1", "12", "", "a=b"];

/// One text condition.
#[derive(Clone, Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    /// Any number of these, as an expression.
    AnyOf(Vec<String>),
}

impl Text {
    fn choose(choices: &mut Choices<'_>, value: fn(&mut Choices<'_>) -> String) -> Self {
        match choices.below(4) {
            0 | 1 => Self::Prefix(value(choices)),
            2 => Self::Exact(value(choices)),
            _ => Self::AnyOf(choices.some(2, value)),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::Exact(text) => format!("{{exact: {text:?}}}"),
            Self::Prefix(text) => format!("{{prefix: {text:?}}}"),
            Self::AnyOf(texts) => format!("{{regex: {:?}}}", texts.join("|")),
        }
    }

    fn matches(&self, value: &str, fold: bool) -> bool {
        let value = if fold {
            value.to_ascii_lowercase()
        } else {
            value.to_owned()
        };
        let own = |text: &str| {
            if fold {
                text.to_ascii_lowercase()
            } else {
                text.to_owned()
            }
        };
        match self {
            Self::Exact(text) => value == own(text),
            Self::Prefix(text) => value.starts_with(&own(text)),
            Self::AnyOf(texts) => texts.contains(&value),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Match {
    uri: Option<Text>,
    ignore_case: bool,
    method: Option<Text>,
    header: Option<(&'static str, Text)>,
    without: Option<(&'static str, Text)>,
    query: Option<(&'static str, Text)>,
}

impl Match {
    fn choose(choices: &mut Choices<'_>) -> Self {
        let mut found = Self::default();
        if !choices.once_in(4) {
            found.uri = Some(Text::choose(choices, path));
            // The expression is case-sensitive whatever is said.
            found.ignore_case = choices.once_in(4) && !matches!(found.uri, Some(Text::AnyOf(_)));
        }
        if choices.once_in(3) {
            found.method = Some(Text::Exact(choices.of(METHODS).to_owned()));
        }
        if choices.once_in(3) {
            found.header = Some((choices.of(NAMES), Text::choose(choices, word)));
        }
        if choices.once_in(4) {
            found.without = Some((
                choices.of(NAMES),
                Text::Exact(choices.of(&["1", "12"]).to_owned()),
            ));
        }
        if choices.once_in(4) {
            found.query = Some((
                choices.of(&["q", "r"]),
                Text::Exact(choices.of(VALUES).to_owned()),
            ));
        }
        found
    }

    fn yaml(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(
            self.uri
                .as_ref()
                .map(|text| format!("uri: {}", text.yaml())),
        );
        parts.extend(self.ignore_case.then(|| "ignoreUriCase: true".to_owned()));
        parts.extend(
            self.method
                .as_ref()
                .map(|text| format!("method: {}", text.yaml())),
        );
        for (field, condition) in [
            ("headers", &self.header),
            ("withoutHeaders", &self.without),
            ("queryParams", &self.query),
        ] {
            parts.extend(
                condition
                    .as_ref()
                    .map(|(name, text)| format!("{field}: {{{name}: {}}}", text.yaml())),
            );
        }
        format!("{{{}}}", parts.join(", "))
    }

    fn is_catch_all(&self) -> bool {
        let any = match &self.uri {
            None => true,
            Some(Text::Prefix(text)) => text == "/",
            Some(_) => false,
        };
        any && self.method.is_none()
            && self.header.is_none()
            && self.without.is_none()
            && self.query.is_none()
    }

    fn matches(&self, request: &Request) -> bool {
        let headers = |wanted: &str| {
            let wanted = wanted.to_owned();
            request
                .headers
                .iter()
                .filter(move |(name, _)| *name == wanted)
        };
        self.uri
            .as_ref()
            .is_none_or(|text| text.matches(&request.path, self.ignore_case))
            && self
                .method
                .as_ref()
                .is_none_or(|text| text.matches(request.method, false))
            && self.header.as_ref().is_none_or(|(name, text)| {
                headers(name).any(|(_, value)| text.matches(value, false))
            })
            && self.without.as_ref().is_none_or(|(name, text)| {
                !headers(name).any(|(_, value)| text.matches(value, false))
            })
            && self.query.as_ref().is_none_or(|(name, text)| {
                let pairs = request.query.as_deref().unwrap_or_default().split('&');
                let mut values = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                request.query.is_some()
                    && values
                        .find(|(key, _)| key == name)
                        .is_some_and(|(_, value)| text.matches(value, false))
            })
    }
}

#[derive(Debug)]
struct Document {
    hosts: Vec<String>,
    /// The matches of each rule; none means everything.
    rules: Vec<Vec<Match>>,
}

#[derive(Debug)]
struct Request {
    host: String,
    path: String,
    query: Option<String>,
    method: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

fn path(choices: &mut Choices<'_>) -> String {
    let parts: Vec<&str> = choices.some(3, |choices| choices.of(SEGMENTS));
    format!("/{}", parts.join("/"))
}

fn word(choices: &mut Choices<'_>) -> String {
    choices.of(&["1", "12", "2"]).to_owned()
}

fn host(choices: &mut Choices<'_>) -> String {
    choices.some(3, |choices| choices.of(LABELS)).join(".")
}

fn pattern(choices: &mut Choices<'_>) -> String {
    match choices.below(5) {
        0 | 1 => format!("*.{}", host(choices)),
        2 => "*".to_owned(),
        _ => format!("{}.test", host(choices)),
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        None => pattern == host,
        Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let within = |pattern: &str, text: &str| {
        let suffix = pattern.strip_prefix('*');
        suffix.is_some_and(|suffix| text.trim_start_matches('*').ends_with(suffix))
    };
    one == other || within(one, other) || within(other, one)
}

/// Makes documents and requests, and finds each route twice.
pub fn router(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let documents: Vec<Document> = choices.some(4, |choices| Document {
        hosts: {
            let mut hosts: Vec<String> = Vec::new();
            for host in choices.some(3, pattern) {
                // As in Istio, the hosts of one document must not contain each other.
                if !hosts.iter().any(|other| overlap(other, &host)) {
                    hosts.push(host);
                }
            }
            hosts
        },
        rules: choices.some(5, |choices| {
            if choices.once_in(8) {
                Vec::new()
            } else {
                choices.some(3, Match::choose)
            }
        }),
    });
    let text = yaml(&documents);
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("router.yaml", text.as_str())], &mesh);
    let (registry, across) = policies::check::check(&loaded.documents, &mesh);
    let edge = Workload {
        name: "istio-ingressgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        service_account: "istio-ingressgateway".to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
    };
    let proxy = Proxy::Gateway { workload: &edge };
    let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh, proxy);
    let mut errors = loaded
        .diagnostics
        .iter()
        .chain(&across)
        .filter(|found| found.is_error());
    if let Some(error) = errors.next() {
        let reason: &Diagnostic = error;
        panic!("a document that should load does not: {reason}\n{text}");
    }
    for _ in 0..12 {
        let request = Request {
            host: if choices.once_in(2) {
                format!("{}.test", host(&mut choices))
            } else {
                host(&mut choices)
            },
            path: path(&mut choices),
            query: choices.once_in(3).then(|| {
                let pairs: Vec<String> = choices.some(3, |choices| {
                    format!(
                        "{}{}{}",
                        choices.of(&["q", "r", "s"]),
                        choices.of(&["=", ""]),
                        choices.of(VALUES)
                    )
                });
                pairs.join("&")
            }),
            method: choices.of(METHODS),
            headers: if choices.once_in(2) {
                choices.some(3, |choices| (choices.of(NAMES), choices.of(VALUES)))
            } else {
                Vec::new()
            },
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let view = RequestView {
            host: &request.host,
            port: 80,
            path: &request.path,
            query: request.query.as_deref(),
            method: request.method,
            scheme: "http",
            headers: &headers,
            claims: None,
        };
        let found = compiled
            .routes
            .find(&view)
            .and_then(|route| route.name.as_deref().map(str::to_owned));
        assert_eq!(found, naive(&documents, &request), "{request:?}\n{text}");
        if choices.is_empty() {
            break;
        }
    }
}

fn yaml(documents: &[Document]) -> String {
    let mut text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  servers:\n  \
        - {port: {number: 80, name: http, protocol: HTTP}, hosts: [\"*\"]}\n"
        .to_owned();
    let mut number = 0;
    for (position, document) in documents.iter().enumerate() {
        let hosts = &document.hosts;
        text.push_str(&format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v{position}}}\nspec:\n  \
             hosts: {hosts:?}\n  gateways: [g]\n  http:\n"
        ));
        for rule in &document.rules {
            text.push_str(&format!(
                "  - name: r{number}\n    directResponse: {{status: 200}}\n"
            ));
            let matches: Vec<String> = rule.iter().map(Match::yaml).collect();
            if !matches.is_empty() {
                text.push_str(&format!("    match: [{}]\n", matches.join(", ")));
            }
            number += 1;
        }
    }
    text
}

/// The best host wins; its matches are tried one by one, catch-alls of any document last.
fn naive(documents: &[Document], request: &Request) -> Option<String> {
    let rank = |pattern: &str| pattern.strip_prefix('*').map_or(usize::MAX, str::len);
    let best = (documents.iter().flat_map(|document| &document.hosts))
        .filter(|pattern| host_matches(pattern, &request.host))
        .max_by_key(|pattern| rank(pattern))?;
    let (mut specific, mut everything) = (Vec::new(), Vec::new());
    let mut number = 0;
    for document in documents {
        // Within a document nothing behind a catch-all is reached.
        let mut reached = true;
        for rule in &document.rules {
            let everybody = [Match::default()];
            let matches = if rule.is_empty() {
                &everybody[..]
            } else {
                rule
            };
            for found in matches {
                if reached && document.hosts.contains(best) {
                    let kind = if found.is_catch_all() {
                        &mut everything
                    } else {
                        &mut specific
                    };
                    kind.push((number, found.clone()));
                }
                reached &= !found.is_catch_all();
            }
            number += 1;
        }
    }
    let mut tried = specific.into_iter().chain(everything);
    let found = tried.find(|(_, found)| found.matches(request));
    found.map(|(number, _)| format!("r{number}"))
}
