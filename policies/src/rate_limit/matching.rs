//! Which requests a limit is about.

use std::sync::Arc;

use regex::bytes::RegexBuilder;

use super::LimitFacts;
use crate::decode::MAX_REGEX_SIZE;
use crate::document::rate_limit::LimitScope;
use crate::document::{CompiledRegexes, StringMatch};
use crate::host::HostPattern;
use crate::route::Text;

/// `match`, compiled: everything that is given has to hold.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    hosts: Box<[HostPattern]>,
    ports: Box<[u16]>,
    routes: Box<[Box<str>]>,
    methods: Box<[Box<str>]>,
    path: Option<Text>,
    headers: Headers,
}

/// Headers that have to be there and to fit.
#[derive(Clone, Debug)]
pub(super) struct Headers(Box<[(Box<str>, Text)]>);

impl Scope {
    pub(super) fn new(scope: &LimitScope, regexes: &CompiledRegexes) -> Self {
        let texts = |all: &[String]| all.iter().map(|text| text.as_str().into()).collect();
        let hosts = scope.hosts.iter();
        Self {
            hosts: hosts
                .map(|host| HostPattern::parse(&host.to_ascii_lowercase()))
                .collect(),
            ports: scope.ports.as_slice().into(),
            routes: texts(&scope.routes),
            methods: texts(&scope.methods),
            path: scope.path.as_ref().map(|path| text(path, regexes)),
            headers: Headers::new(
                scope.headers.iter().map(|(name, found)| (&**name, found)),
                regexes,
            ),
        }
    }

    pub(super) fn matches(&self, facts: &LimitFacts<'_>) -> bool {
        let request = &facts.request;
        let one_of = |all: &[Box<str>], text: &str| {
            all.is_empty() || all.iter().any(|known| **known == *text)
        };
        (self.ports.is_empty() || self.ports.contains(&request.port))
            && one_of(&self.methods, request.method)
            && self
                .path
                .as_ref()
                .is_none_or(|path| path.matches(request.path.as_bytes()))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(facts.host())))
            && (self.routes.is_empty()
                || facts.route.is_some_and(|name| one_of(&self.routes, name)))
            && self.headers.match_all(facts)
    }
}

impl Headers {
    pub(super) fn new<'a>(
        headers: impl Iterator<Item = (&'a str, &'a StringMatch)>,
        regexes: &CompiledRegexes,
    ) -> Self {
        let compiled = headers.map(|(name, found)| (name.into(), text(found, regexes)));
        Self(compiled.collect())
    }

    pub(super) fn match_all(&self, facts: &LimitFacts<'_>) -> bool {
        self.0
            .iter()
            .all(|(name, text)| facts.header(name).is_some_and(|value| text.matches(value)))
    }
}

/// A comparison.
fn text(found: &StringMatch, regexes: &CompiledRegexes) -> Text {
    match found {
        StringMatch::Exact(text) => Text::Exact(text.as_str().into()),
        StringMatch::Prefix(text) => Text::Prefix(text.as_str().into()),
        StringMatch::Present => Text::Present,
        StringMatch::Regex(pattern) => match regexes.0.get(pattern.as_str()) {
            Some(regex) => Text::Regex(Arc::clone(regex)),
            // What a decoder made of Envoy's words (`ignore_case`) is not among the written ones.
            None => RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
                .size_limit(MAX_REGEX_SIZE)
                .build()
                .map_or(Text::Never, |regex| Text::Regex(regex.into())),
        },
    }
}
