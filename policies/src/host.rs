//! Host names and host patterns: exact, `*.suffix` and `*`.

use std::fmt;

/// A host pattern of a document, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One host.
    Exact(Box<str>),
    /// `*.example.com`: the text behind the star, `.example.com`.
    Suffix(Box<str>),
    /// `*`.
    Any,
}

impl HostPattern {
    /// A pattern from a document's text; a star elsewhere is part of the name.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            return Self::Any;
        }
        match text.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => Self::Suffix(suffix.into()),
            _ => Self::Exact(text.into()),
        }
    }

    /// Whether a host in lower case, without port, is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == &**exact,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            Self::Any => true,
        }
    }

    /// Whether every host that the other pattern means is meant.
    pub fn covers(&self, other: &Self) -> bool {
        self.intersect(other).as_ref() == Some(other)
    }

    /// The hosts that both patterns mean, if there are any.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, both) | (both, Self::Any) => Some(both.clone()),
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => {
                pattern.matches(host).then(|| Self::Exact(host.clone()))
            }
            (Self::Suffix(one), Self::Suffix(two)) => {
                let (longer, shorter) = if one.len() >= two.len() {
                    (one, two)
                } else {
                    (two, one)
                };
                longer
                    .ends_with(&**shorter)
                    .then(|| Self::Suffix(longer.clone()))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Splits an authority into host and port; an IPv6 address keeps its brackets.
pub fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port))
            if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) =>
        {
            match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) if port.is_empty() => (host, None),
                Err(_) => (authority, None),
            }
        }
        _ => (authority, None),
    }
}
