//! Where in a request tokens are looked for, and how they are taken out again.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::TokenError;

/// One place in a request that may hold a token (Istio's `fromHeaders`, `fromParams`, `fromCookies`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A header whose value starts with the prefix, letter by letter; every value of a repeated header is looked at.
    Header {
        /// Its name.
        name: HeaderName,
        /// What stands before the token, such as `Bearer `.
        prefix: Box<str>,
    },
    /// A query parameter; every occurrence is looked at.
    Parameter(Box<str>),
    /// A cookie; every occurrence is looked at.
    Cookie(Box<str>),
}

impl Place {
    /// Where tokens are by default (RFC 6750 §2.1 and §2.3).
    pub(super) fn defaults() -> [Self; 2] {
        [
            Self::Header {
                name: header::AUTHORIZATION,
                prefix: "Bearer ".into(),
            },
            Self::Parameter("access_token".into()),
        ]
    }

    /// Every token that stands here.
    pub(super) fn tokens<'a>(
        &self,
        headers: &'a HeaderMap,
        query: Option<&'a str>,
        mut found: impl FnMut(Cow<'a, str>) -> Result<(), TokenError>,
    ) -> Result<(), TokenError> {
        let mut text = |bytes: &'a [u8]| {
            let text = std::str::from_utf8(bytes.trim_ascii()).map_err(|_| TokenError::Form)?;
            found(Cow::Borrowed(text))
        };
        match self {
            Self::Header { name, prefix } => headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.as_bytes().strip_prefix(prefix.as_bytes()))
                .try_for_each(text),
            Self::Cookie(name) => cookies(headers)
                .filter(|(key, _)| *key == name.as_bytes())
                .try_for_each(|(_, value)| text(unquoted(value))),
            Self::Parameter(name) => pairs(query)
                .filter(|pair| is_named(pair, name))
                .try_for_each(|pair| {
                    let value = pair.split_once('=').map_or("", |(_, value)| value);
                    found(decoded(value).ok_or(TokenError::Form)?)
                }),
        }
    }

    /// Takes out whatever stands here: all values of a header, as Envoy does, all occurrences of a parameter or cookie.
    pub(super) fn clear(&self, headers: &mut HeaderMap, query: &mut Option<String>) {
        match self {
            Self::Header { name, .. } => {
                headers.remove(name);
            }
            Self::Cookie(name) => clear_cookie(headers, name),
            Self::Parameter(name) => {
                let kept: Vec<&str> = pairs(query.as_deref())
                    .filter(|pair| !is_named(pair, name))
                    .collect();
                let kept = kept.join("&");
                *query = (!kept.is_empty()).then_some(kept);
            }
        }
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = &str> {
    query.into_iter().flat_map(|query| query.split('&'))
}

fn is_named(pair: &str, name: &str) -> bool {
    let key = pair.split_once('=').map_or(pair, |(key, _)| key);
    decoded(key).is_some_and(|key| key == name)
}

/// Escapes decoded, once; none if that is no text. `+` stays: no token holds a space.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => digit(*high).zip(digit(*low)).map(|(h, l)| {
                rest = after;
                h << 4 | l
            }),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Name and value of each cookie (RFC 6265 §5.4); HTTP/2 may split them over several headers.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(header::COOKIE).iter().flat_map(|value| {
        let cookies = value.as_bytes().split(|byte| *byte == b';');
        cookies.map(name_and_value)
    })
}

fn name_and_value(cookie: &[u8]) -> (&[u8], &[u8]) {
    let cookie = cookie.trim_ascii();
    let split = cookie.iter().position(|byte| *byte == b'=');
    let (name, value) = split
        .and_then(|at| cookie.split_at_checked(at))
        .unwrap_or((cookie, b""));
    let value = value.strip_prefix(b"=").unwrap_or(value);
    (name.trim_ascii(), value.trim_ascii())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value)
}

fn clear_cookie(headers: &mut HeaderMap, name: &str) {
    let mut kept: Vec<HeaderValue> = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        let others: Vec<&[u8]> = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .filter(|cookie| name_and_value(cookie).0 != name.as_bytes())
            .map(<[u8]>::trim_ascii)
            .filter(|cookie| !cookie.is_empty())
            .collect();
        if !others.is_empty() {
            // Parts of a good value make a good value.
            kept.extend(HeaderValue::from_bytes(&others.join(&b"; "[..])));
        }
    }
    headers.remove(header::COOKIE);
    for value in kept {
        headers.append(header::COOKIE, value);
    }
}
