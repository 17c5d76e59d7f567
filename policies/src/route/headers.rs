//! Header changes of a route, ready to apply.

mod format;

use std::net::SocketAddr;

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use format::{Format, FormatError, HeaderText};

use crate::document::HeaderRules;

/// Header changes; removals come before additions.
#[derive(Clone, Debug, Default)]
pub struct HeaderOps {
    /// Taken away.
    pub remove: Box<[HeaderName]>,
    /// Overwritten.
    pub set: Box<[(HeaderName, HeaderText)]>,
    /// Appended.
    pub add: Box<[(HeaderName, HeaderText)]>,
    /// `set` of `host` or `:authority`: the Host to forward.
    pub authority: Option<HeaderValue>,
}

/// What format strings may say of a request beside its headers.
#[derive(Clone, Copy, Debug)]
pub struct HeaderFacts<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query before they are rewritten.
    pub target: &'a str,
    /// The host as it was routed.
    pub host: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The HTTP version that the client speaks.
    pub version: Version,
    /// The other end of the connection.
    pub remote: SocketAddr,
}

impl HeaderOps {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.authority.is_none()
    }

    /// Whether a value is made for each request (`%REQ(x)%` and the like).
    pub fn has_formats(&self) -> bool {
        let mut texts = self.set.iter().chain(&self.add);
        texts.any(|(_, text)| matches!(text, HeaderText::Made(_)))
    }

    /// Changes a request's headers; the authority is the caller's to change.
    pub fn apply_to_request(&self, headers: &mut HeaderMap, facts: &HeaderFacts<'_>) {
        self.apply(headers, |format, headers| format.make(facts, headers, None));
    }

    /// Changes a response's headers; `request` has the headers of the request as it was sent.
    pub fn apply_to_response(
        &self,
        headers: &mut HeaderMap,
        request: &HeaderMap,
        facts: &HeaderFacts<'_>,
    ) {
        self.apply(headers, |format, headers| {
            format.make(facts, request, Some(headers))
        });
    }

    /// Values are made when the removals are done and nothing is added yet, as in Envoy. One that comes out empty
    /// changes nothing.
    fn apply(
        &self,
        headers: &mut HeaderMap,
        make: impl Fn(&Format, &HeaderMap) -> Option<HeaderValue>,
    ) {
        for name in &self.remove {
            headers.remove(name);
        }
        let mut made: Vec<Option<HeaderValue>> = Vec::new();
        if self.has_formats() {
            let texts = self.set.iter().chain(&self.add);
            made.extend(texts.filter_map(|(_, text)| match text {
                HeaderText::Fixed(_) => None,
                HeaderText::Made(format) => Some(make(format, headers)),
            }));
        }
        let mut made = made.into_iter();
        let mut value = |text: &HeaderText| match text {
            HeaderText::Fixed(value) => Some(value.clone()),
            HeaderText::Made(_) => made.next().flatten(),
        };
        for (name, text) in &self.set {
            if let Some(value) = value(text) {
                headers.insert(name, value);
            }
        }
        for (name, text) in &self.add {
            if let Some(value) = value(text) {
                headers.append(name, value);
            }
        }
    }

    /// Ready-made changes; names and values are known to be good since load.
    pub(crate) fn compile(rules: &HeaderRules) -> Self {
        let pair = |(name, value): (&String, &crate::document::Spanned<String>)| {
            let name: HeaderName = name.parse().ok()?;
            Some((name, HeaderText::parse(value).ok()?))
        };
        let is_authority = |name: &str| name == "host" || name == ":authority";
        let authority = rules.set.iter().find(|(name, _)| is_authority(name));
        Self {
            remove: rules
                .remove
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            set: rules
                .set
                .iter()
                .filter(|(name, _)| !is_authority(name))
                .filter_map(pair)
                .collect(),
            add: rules.add.iter().filter_map(pair).collect(),
            authority: authority.and_then(|(_, value)| match HeaderText::parse(value).ok()? {
                HeaderText::Fixed(value) => Some(value),
                HeaderText::Made(_) => None,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
