//! The key of a request for consistent hashing, and the cookie that is made when it is missing.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

use super::balance::fingerprint;
use crate::document;

/// What a consistent hash is about, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct HashKey(Source);

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Header(HeaderName),
    Cookie(document::HashCookie),
    Address,
    Query(String),
}

/// What a key is taken from.
#[derive(Clone, Copy, Debug)]
pub struct KeySource<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// The client's address.
    pub client: Option<IpAddr>,
}

/// The hash of a request's key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyHash {
    /// The hash; none if the request has no such key.
    pub hash: Option<u64>,
    /// The value of the `set-cookie` header by which the client keeps the key that was made for it.
    pub set_cookie: Option<String>,
}

impl HashKey {
    /// The key that a document names; none for a header whose name cannot be one.
    pub fn new(written: &document::HashKey) -> Option<Self> {
        Some(Self(match written {
            document::HashKey::Header(name) => {
                Source::Header(HeaderName::from_bytes(name.as_bytes()).ok()?)
            }
            document::HashKey::Cookie(cookie) => Source::Cookie(cookie.clone()),
            document::HashKey::SourceIp => Source::Address,
            document::HashKey::QueryParameter(name) => Source::Query(name.clone()),
        }))
    }

    /// The hash of a request's key. A cookie with `ttl` that is missing is made of `random`.
    ///
    /// Allocates only for the cookie that it makes.
    pub fn hash(&self, request: &KeySource<'_>, random: u64) -> KeyHash {
        let found = match &self.0 {
            Source::Header(name) => {
                let mut values = request.headers.get_all(name).iter();
                let first = values.next().map(|first| fingerprint(0, first.as_bytes()));
                first.map(|first| {
                    values.fold(first, |hash, more| fingerprint(hash, more.as_bytes()))
                })
            }
            Source::Cookie(cookie) => {
                cookie_of(request.headers, &cookie.name).map(|value| fingerprint(0, value))
            }
            Source::Address => request.client.map(|client| match client.to_canonical() {
                IpAddr::V4(address) => fingerprint(0, &address.octets()),
                IpAddr::V6(address) => fingerprint(0, &address.octets()),
            }),
            Source::Query(name) => request
                .query
                .and_then(|query| parameter(query, name))
                .map(|value| fingerprint(0, value.as_bytes())),
        };
        match (&self.0, found) {
            (Source::Cookie(cookie), None) if cookie.ttl.is_some() => made(cookie, random),
            (_, hash) => KeyHash {
                hash,
                set_cookie: None,
            },
        }
    }
}

/// The value of a cookie, without the quotes that it may have.
fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut found = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.trim_ascii_start().strip_prefix(b"=")
    });
    let value = found.next()?.trim_ascii();
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Some(unquoted.unwrap_or(value)).filter(|value| !value.is_empty())
}

/// The first value of a query parameter, as it is written.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// A cookie of a random number (Envoy's form: a session cookie if `ttl` is 0, never shown to scripts).
fn made(cookie: &document::HashCookie, random: u64) -> KeyHash {
    let value = format!("{random:016x}");
    let hash = fingerprint(0, value.as_bytes());
    let mut text = format!("{}=\"{value}\"", cookie.name);
    // Writing to a `String` cannot fail.
    if let Some(ttl) = cookie.ttl.filter(|ttl| !ttl.is_zero()) {
        write!(text, "; Max-Age={}", ttl.as_secs().max(1)).ok();
    }
    if let Some(path) = cookie.path.as_deref().filter(|path| !path.is_empty()) {
        write!(text, "; Path={path}").ok();
    }
    for attribute in &cookie.attributes {
        match &attribute.value {
            Some(value) => write!(text, "; {}={value}", attribute.name).ok(),
            None => write!(text, "; {}", attribute.name).ok(),
        };
    }
    text.push_str("; HttpOnly");
    KeyHash {
        hash: Some(hash),
        set_cookie: Some(text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::document::{CookieAttribute, HashCookie};

    fn source<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> KeySource<'a> {
        KeySource {
            headers,
            query,
            client: "192.0.2.7".parse().ok(),
        }
    }

    fn hash(key: &document::HashKey, headers: &[(&str, &str)], query: &str) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let key = HashKey::new(key).unwrap();
        key.hash(&source(&headers, Some(query)), 7).hash
    }

    fn cookie(ttl: Option<Duration>) -> HashCookie {
        HashCookie {
            name: "user".to_owned(),
            path: Some("/shop".to_owned()),
            ttl,
            attributes: vec![CookieAttribute {
                name: "SameSite".to_owned(),
                value: Some("Strict".to_owned()),
            }],
        }
    }

    #[test]
    fn each_key_is_found() {
        let header = document::HashKey::Header("X-User".to_owned());
        assert!(hash(&header, &[("x-user", "a")], "").is_some());
        assert_eq!(hash(&header, &[], ""), None);
        assert_ne!(
            hash(&header, &[("x-user", "a")], ""),
            hash(&header, &[("x-user", "b")], "")
        );
        let query = document::HashKey::QueryParameter("user".to_owned());
        assert!(hash(&query, &[], "a=1&user=x").is_some());
        assert_eq!(hash(&query, &[], "a=1&username=x"), None);
        assert!(hash(&document::HashKey::SourceIp, &[], "").is_some());
        let cookie = document::HashKey::Cookie(cookie(None));
        let one = hash(&cookie, &[("cookie", "a=b; user=\"x\"")], "");
        assert!(one.is_some());
        assert_eq!(one, hash(&cookie, &[("cookie", "user=x;a=b")], ""));
        assert_eq!(hash(&cookie, &[("cookie", "superuser=x")], ""), None);
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        let key = HashKey::new(&document::HashKey::SourceIp).unwrap();
        let headers = HeaderMap::new();
        let of = |client: &str| {
            let source = KeySource {
                client: client.parse().ok(),
                ..source(&headers, None)
            };
            key.hash(&source, 0).hash
        };
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }

    #[test]
    fn a_cookie_that_was_made_leads_back() {
        let written = document::HashKey::Cookie(cookie(Some(Duration::from_hours(1))));
        let key = HashKey::new(&written).unwrap();
        let made = key.hash(&source(&HeaderMap::new(), None), 0xabc);
        let line = made.set_cookie.unwrap();
        assert_eq!(
            line,
            "user=\"0000000000000abc\"; Max-Age=3600; Path=/shop; SameSite=Strict; HttpOnly"
        );
        let back = hash(&written, &[("cookie", "user=0000000000000abc")], "");
        assert_eq!(back, made.hash);
        let session = HashKey::new(&document::HashKey::Cookie(cookie(Some(Duration::ZERO))));
        let made = session.unwrap().hash(&source(&HeaderMap::new(), None), 1);
        assert!(!made.set_cookie.unwrap().contains("Max-Age"));
    }
}
