//! The conditions of one match, compiled.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};

use super::{ClaimPath, RequestView};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) uri: Option<Text>,
    pub(crate) scheme: Option<Text>,
    pub(crate) method: Option<Text>,
    pub(crate) authority: Option<Text>,
    pub(crate) port: Option<u16>,
    pub(crate) headers: Box<[(HeaderName, Text)]>,
    pub(crate) without_headers: Box<[(HeaderName, Text)]>,
    pub(crate) claims: Box<[(ClaimPath, Text)]>,
    pub(crate) without_claims: Box<[(ClaimPath, Text)]>,
    pub(crate) query_params: Box<[(Box<str>, Text)]>,
}

/// How a text is compared.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    /// The same bytes.
    Exact(Box<str>),
    /// The same bytes, ASCII case ignored.
    ExactIgnoreCase(Box<str>),
    /// These bytes first.
    Prefix(Box<str>),
    /// These bytes first, ASCII case ignored.
    PrefixIgnoreCase(Box<str>),
    /// The whole text, anchored when compiled.
    Regex(Arc<regex::bytes::Regex>),
    /// There at all.
    Present,
    /// Nothing.
    Never,
}

impl Text {
    /// Whether a value fits.
    pub(crate) fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::ExactIgnoreCase(text) => value.eq_ignore_ascii_case(text.as_bytes()),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::PrefixIgnoreCase(text) => value
                .get(..text.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes())),
            Self::Regex(regex) => regex.is_match(value),
            Self::Present => true,
            Self::Never => false,
        }
    }
}

impl Condition {
    /// Whether a request fits.
    pub(crate) fn matches(&self, request: &RequestView<'_>) -> bool {
        fits(self.uri.as_ref(), request.path) && self.matches_beyond_path(request)
    }

    /// Whether everything but the path of a request fits.
    pub(crate) fn matches_beyond_path(&self, request: &RequestView<'_>) -> bool {
        self.port.is_none_or(|port| port == request.port)
            && fits(self.method.as_ref(), request.method)
            && fits(self.authority.as_ref(), request.host)
            && fits(self.scheme.as_ref(), request.scheme)
            && self
                .headers
                .iter()
                .all(|(name, text)| any_value(request.headers, name, text))
            && self
                .without_headers
                .iter()
                .all(|(name, text)| !any_value_or_empty(request.headers, name, text))
            && self
                .claims
                .iter()
                .all(|(claim, text)| claim.holds(request.claims, text))
            && !self
                .without_claims
                .iter()
                .any(|(claim, text)| claim.holds(request.claims, text))
            && self
                .query_params
                .iter()
                .all(|(name, text)| query_param(request.query, name, text))
    }

    /// Whether every request fits.
    pub(crate) fn is_catch_all(&self) -> bool {
        let any_path = match &self.uri {
            None => true,
            Some(Text::Prefix(prefix) | Text::PrefixIgnoreCase(prefix)) => &**prefix == "/",
            Some(Text::Regex(regex)) => matches!(regex.as_str(), "\\A(?:.*)\\z" | "\\A(?:/.*)\\z"),
            Some(_) => false,
        };
        any_path && self.is_path_only()
    }

    /// Whether only the path is asked for, if anything is.
    pub(crate) fn is_path_only(&self) -> bool {
        self.scheme.is_none()
            && self.method.is_none()
            && self.authority.is_none()
            && self.port.is_none()
            && self.headers.is_empty()
            && self.without_headers.is_empty()
            && self.claims.is_empty()
            && self.without_claims.is_empty()
            && self.query_params.is_empty()
    }
}

fn fits(text: Option<&Text>, value: &str) -> bool {
    text.is_none_or(|text| text.matches(value.as_bytes()))
}

/// Each value of a repeated header is looked at alone, as Envoy does since CVE-2026-26308.
pub(super) fn any_value(headers: &HeaderMap, name: &HeaderName, text: &Text) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| text.matches(value.as_bytes()))
}

/// For `withoutHeaders` a missing header counts as the empty text, unless presence is asked for.
pub(super) fn any_value_or_empty(headers: &HeaderMap, name: &HeaderName, text: &Text) -> bool {
    if headers.contains_key(name) {
        any_value(headers, name, text)
    } else {
        !matches!(text, Text::Present) && text.matches(b"")
    }
}

fn query_param(query: Option<&str>, name: &str, text: &Text) -> bool {
    query_value(query, name).is_some_and(|value| text.matches(value.as_bytes()))
}

/// The first parameter of that name, undecoded as in Envoy; `?key` has the empty text.
pub(crate) fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
