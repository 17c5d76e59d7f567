//! Istio's `CorsPolicy`: which pages of other origins may call.

use std::time::Duration;

use crate::decode::{Cursor, Decode, DurationOrZero, NonEmpty};
use crate::document::string_match::OriginMatch;
use crate::document::{Spanned, StringMatch};

const METHODS: &[(&str, &str)] = &[
    ("GET", "GET"),
    ("HEAD", "HEAD"),
    ("POST", "POST"),
    ("PUT", "PUT"),
    ("PATCH", "PATCH"),
    ("DELETE", "DELETE"),
    ("CONNECT", "CONNECT"),
    ("OPTIONS", "OPTIONS"),
    ("TRACE", "TRACE"),
];

/// Istio's `CorsPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct CorsPolicy {
    /// `allowOrigins`, and the deprecated `allowOrigin` as exact matches.
    pub allow_origins: Vec<Spanned<StringMatch>>,
    /// `allowMethods`.
    pub allow_methods: Vec<&'static str>,
    /// `allowHeaders`, or `*`.
    pub allow_headers: Vec<String>,
    /// `exposeHeaders`, or `*`.
    pub expose_headers: Vec<String>,
    /// `maxAge`, whole seconds.
    pub max_age: Option<Duration>,
    /// `allowCredentials`; `false` if not given.
    pub allow_credentials: bool,
    /// `unmatchedPreflights`.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What happens to preflight requests of other origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnmatchedPreflights {
    /// `FORWARD`, the default: they go to the service.
    #[default]
    Forward,
    /// `IGNORE`: they are answered here, without permission.
    Ignore,
}

impl Decode for CorsPolicy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let mut allow_origins: Vec<Spanned<StringMatch>> = f
                .list::<Spanned<OriginMatch>>("allowOrigins")
                .into_iter()
                .map(|origin| origin.map(|OriginMatch(found)| found))
                .collect();
            if let Some(cursor) = f.get("allowOrigin") {
                cursor.deprecated_shape("allowOrigin", "allowOrigins", None, false);
                let old = cursor.items().unwrap_or_default();
                let old = old.iter().filter_map(Spanned::<NonEmpty>::decode);
                allow_origins.extend(
                    old.map(|origin| origin.map(|NonEmpty(text)| StringMatch::Exact(text))),
                );
            }
            let methods = f.list::<Method>("allowMethods");
            let allow_headers = f.list::<HeaderOrStar>("allowHeaders");
            let expose_headers = f.list::<HeaderOrStar>("exposeHeaders");
            let max_age = f.optional::<Seconds>("maxAge");
            let allow_credentials = f.or_default("allowCredentials");
            let unmatched_preflights = f.get("unmatchedPreflights").and_then(|cursor| {
                cursor.one_of(&[
                    ("UNSPECIFIED", UnmatchedPreflights::Forward),
                    ("FORWARD", UnmatchedPreflights::Forward),
                    ("IGNORE", UnmatchedPreflights::Ignore),
                ])
            });
            Some(Self {
                allow_origins,
                allow_methods: methods.into_iter().map(|Method(name)| name).collect(),
                allow_headers: allow_headers
                    .into_iter()
                    .map(|HeaderOrStar(name)| name)
                    .collect(),
                expose_headers: expose_headers
                    .into_iter()
                    .map(|HeaderOrStar(name)| name)
                    .collect(),
                max_age: max_age.map(|Seconds(age)| age),
                allow_credentials,
                unmatched_preflights: unmatched_preflights.unwrap_or_default(),
            })
        })
    }
}

struct Method(&'static str);

impl Decode for Method {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(METHODS).map(Self)
    }
}

struct HeaderOrStar(String);

impl Decode for HeaderOrStar {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let token = !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if token || text == "*" {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid("a header name or `*`")
        }
    }
}

/// A duration of whole seconds.
struct Seconds(Duration);

impl Decode for Seconds {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let DurationOrZero(age) = DurationOrZero::decode(cursor)?;
        if age.is_zero() || age.subsec_nanos() != 0 {
            return cursor.invalid("a duration of whole seconds, at least one");
        }
        Some(Self(age))
    }
}
