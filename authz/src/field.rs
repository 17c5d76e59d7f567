//! One compiled field of a rule: what it looks at, and what it wants or refuses to see there.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use policies::{cidr::Cidr, document::Spanned, source::Location};

use crate::{
    decision::Action,
    facts::{Facts, HttpFacts},
    matcher::Pattern,
    principal::IdentityPattern,
    request_principal::RequestPrincipal,
    template::{Breadth, Template},
};

/// A field with its values; any of them may match.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) subject: Subject,
    pub(crate) wants: Wants,
    /// For explanations; a decision never looks here.
    pub(crate) written: Box<Written>,
}

/// What the author wrote.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The field as an author calls it: `principals`, `notPaths`, or the condition's key, `source.ip`.
    pub(crate) field: Box<str>,
    /// Where its first value stands.
    pub(crate) at: Location,
    pub(crate) values: Box<[Box<str>]>,
}

impl Written {
    /// The values of one field; the format of a value is its own business.
    pub(crate) fn new<T: std::fmt::Display>(
        field: &str,
        values: &[Spanned<T>],
    ) -> Option<Box<Self>> {
        let first = values.first()?;
        Some(Box::new(Self {
            field: field.into(),
            at: first.at.clone(),
            values: values
                .iter()
                .map(|value| value.value.to_string().into())
                .collect(),
        }))
    }
}

/// `values` or `notValues`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// One of the values.
    Match,
    /// None of the values; true where there is nothing to look at.
    NoMatch,
}

impl Wants {
    /// The name of a list field in this sense: `paths` or `notPaths`.
    pub(crate) fn field(self, name: &str) -> String {
        let mut letters = name.chars();
        match (self, letters.next()) {
            (Self::NoMatch, Some(first)) => {
                format!("not{}{}", first.to_ascii_uppercase(), letters.as_str())
            }
            (Self::Match | Self::NoMatch, _) => name.to_owned(),
        }
    }
}

/// What is looked at, with the values.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    Identity(Box<[IdentityPattern]>),
    SourceIp(Box<[Cidr]>),
    RemoteIp(Box<[Cidr]>),
    DestinationIp(Box<[Cidr]>),
    DestinationPort(Box<[u16]>),
    Sni(Box<[Pattern]>),
    Http(HttpSubject),
}

/// What only HTTP has.
#[derive(Debug, Clone)]
pub(crate) enum HttpSubject {
    /// `hosts`: without regard to case.
    Host(Box<[Pattern]>),
    /// `request.headers[host]` and `[:authority]`: with regard to case.
    Authority(Box<[Pattern]>),
    Method(Box<[Pattern]>),
    Path(Box<[PathPattern]>),
    Header(HeaderName, Box<[Pattern]>),
    /// Issuer and subject of the request's token.
    RequestPrincipal(Box<[RequestPrincipal]>),
    /// A claim of the token, by the names on the way to it.
    Claim(Box<[Box<str>]>, Box<[Pattern]>),
}

/// A value of `paths`.
#[derive(Debug, Clone)]
pub(crate) enum PathPattern {
    Text(Pattern),
    Template(Template),
}

impl Check {
    /// Whether opaque TCP has nothing to look at here.
    pub(crate) const fn is_http_only(&self) -> bool {
        matches!(self.subject, Subject::Http(_))
    }

    /// Whether the field lets the rule match.
    ///
    /// On TCP an HTTP field holds: Istio drops it from a DENY rule, and drops an ALLOW rule as a whole
    /// (which [`crate::rule::Rule`] has done before it comes here).
    pub(crate) fn holds(&self, facts: &Facts<'_>, action: Action) -> bool {
        let matched = match &self.subject {
            Subject::Identity(patterns) => facts
                .peer
                .is_some_and(|peer| patterns.iter().any(|pattern| pattern.matches(peer))),
            Subject::SourceIp(blocks) => any_block(blocks, facts.source_ip),
            Subject::RemoteIp(blocks) => any_block(blocks, facts.remote_ip),
            Subject::DestinationIp(blocks) => any_block(blocks, facts.destination_ip),
            Subject::DestinationPort(ports) => ports.contains(&facts.destination_port),
            Subject::Sni(patterns) => facts.sni.is_some_and(|sni| {
                patterns
                    .iter()
                    .any(|pattern| pattern.matches(sni.as_bytes()))
            }),
            Subject::Http(subject) => match &facts.http {
                Some(http) => subject.matches(http, Reading::of(action, self.wants)),
                None => return true,
            },
        };
        match self.wants {
            Wants::Match => matched,
            Wants::NoMatch => !matched,
        }
    }
}

fn any_block(blocks: &[Cidr], address: IpAddr) -> bool {
    blocks.iter().any(|block| block.contains(address))
}

/// How a repeated header is read, so that neither an allowance nor an evasion hides among its values.
#[derive(Clone, Copy)]
enum Reading {
    /// Every value must match: where a match lets something through.
    Every,
    /// Any value, or all of them joined by commas, may match: where a match stops something.
    Any,
}

impl Reading {
    const fn of(action: Action, wants: Wants) -> Self {
        match (action, wants) {
            (Action::Allow, Wants::Match)
            | (Action::Deny | Action::Custom | Action::Audit, Wants::NoMatch) => Self::Every,
            (Action::Allow, Wants::NoMatch)
            | (Action::Deny | Action::Custom | Action::Audit, Wants::Match) => Self::Any,
        }
    }
}

impl HttpSubject {
    fn matches(&self, http: &HttpFacts<'_>, reading: Reading) -> bool {
        match self {
            Self::Host(patterns) => patterns
                .iter()
                .any(|pattern| pattern.matches_host(http.host)),
            Self::Authority(patterns) => any_header_pattern(patterns, http.host.as_bytes()),
            Self::Method(patterns) => any_header_pattern(patterns, http.method.as_bytes()),
            Self::Path(patterns) => patterns.iter().any(|pattern| match pattern {
                PathPattern::Text(pattern) => pattern.matches(http.path.as_bytes()),
                PathPattern::Template(template) => template.matches(
                    http.path,
                    match reading {
                        Reading::Every => Breadth::Listed,
                        Reading::Any => Breadth::Every,
                    },
                ),
            }),
            Self::Header(name, patterns) => header_matches(http.headers, name, patterns, reading),
            Self::RequestPrincipal(principals) => http
                .claims
                .is_some_and(|claims| principals.iter().any(|principal| principal.matches(claims))),
            Self::Claim(path, patterns) => http.claims.is_some_and(|claims| {
                let test = |text: &str| {
                    patterns
                        .iter()
                        .any(|pattern| pattern.matches(text.as_bytes()))
                };
                claims.any(path.iter().map(|name| &**name), test)
            }),
        }
    }
}

fn any_header_pattern(patterns: &[Pattern], value: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches_header(value))
}

fn header_matches(
    headers: &HeaderMap,
    name: &HeaderName,
    patterns: &[Pattern],
    reading: Reading,
) -> bool {
    let values = || headers.get_all(name).iter();
    let mut present = false;
    let mut any = false;
    let mut every = true;
    for value in values() {
        let matched = any_header_pattern(patterns, value.as_bytes());
        present = true;
        any |= matched;
        every &= matched;
    }
    match reading {
        Reading::Every => present && every,
        Reading::Any => {
            any || (present
                && patterns
                    .iter()
                    .any(|pattern| matches_joined(pattern, values())))
        }
    }
}

/// The pattern on the values joined by `,`, as proxies before CVE-2026-26308 read them.
fn matches_joined<'a>(
    pattern: &Pattern,
    values: impl DoubleEndedIterator<Item = &'a http::HeaderValue>,
) -> bool {
    // Every value brings a comma in front; the very first one is left out.
    let mut bytes =
        values.flat_map(|value| std::iter::once(b',').chain(value.as_bytes().iter().copied()));
    bytes.next();
    pattern.matches_pieces(bytes)
}
