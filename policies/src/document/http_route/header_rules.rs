//! Istio's `Headers`: changes to the headers of requests and responses.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};

use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::Spanned;
use crate::yaml::shortened;

/// Istio's `Headers`.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Changes to the request.
    pub request: HeaderRules,
    /// Changes to the response.
    pub response: HeaderRules,
}

/// Istio's `HeaderOperations`; names are valid and in lower case, values are valid.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// Overwritten. Of a request also `host` or `:authority`.
    pub set: BTreeMap<String, Spanned<String>>,
    /// Appended.
    pub add: BTreeMap<String, Spanned<String>>,
    /// Taken away, before anything is added.
    pub remove: Vec<Spanned<String>>,
}

impl Decode for Headers {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let request = f
                .get("request")
                .and_then(|cursor| rules(&cursor, Direction::Request));
            let response = f
                .get("response")
                .and_then(|cursor| rules(&cursor, Direction::Response));
            Some(Self {
                request: request.unwrap_or_default(),
                response: response.unwrap_or_default(),
            })
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

fn rules(cursor: &Cursor<'_>, direction: Direction) -> Option<HeaderRules> {
    cursor.fields(|f| {
        let authority = direction == Direction::Request;
        let mut set = values(f, "set", authority);
        let mut add = values(f, "add", authority);
        // There is one Host, so adding one sets it.
        for name in ["host", ":authority"] {
            if let Some(value) = add.remove(name) {
                set.entry(name.to_owned()).or_insert(value);
            }
        }
        let remove = f.list::<Spanned<RemovedHeader>>("remove");
        Some(HeaderRules {
            set,
            add,
            remove: remove
                .into_iter()
                .map(|name| name.map(|RemovedHeader(name)| name))
                .collect(),
        })
    })
}

fn values(
    f: &mut Fields<'_>,
    field: &'static str,
    authority: bool,
) -> BTreeMap<String, Spanned<String>> {
    let entries = f
        .get(field)
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut values = BTreeMap::new();
    for (name, cursor) in entries {
        let lower = name.to_ascii_lowercase();
        let is_authority = lower == ":authority" || lower == "host";
        let name = if is_authority && authority {
            Some(lower)
        } else {
            header_name(&cursor, name)
        };
        let value = FixedValue::decode(&cursor);
        if let (Some(name), Some(FixedValue(value))) = (name, value) {
            values.insert(name, cursor.spanned(value));
        }
    }
    values
}

/// An element of `remove`.
struct RemovedHeader(String);

impl Decode for RemovedHeader {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        header_name(cursor, cursor.text()?).map(Self)
    }
}

/// A valid header name in lower case. Host and pseudo headers are refused.
fn header_name(cursor: &Cursor<'_>, name: &str) -> Option<String> {
    let report = |message: String| {
        let at = cursor.key_at();
        let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &cursor.path, message);
        cursor.context.report(diagnostic);
        None
    };
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if name == http::header::HOST => {
            report("`host` can only be set, and only on requests".to_owned())
        }
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => report(format!("`{}` is not a header name", shortened(name))),
    }
}

/// A valid header value. Envoy's format strings would be sent literally, so they are refused; `%%` is `%`.
struct FixedValue(String);

impl Decode for FixedValue {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if HeaderValue::from_str(text).is_err() {
            return cursor.invalid("a header value");
        }
        if text.replace("%%", "").contains('%') {
            let help = "write `%%` for a percent sign".to_owned();
            return cursor.invalid_with(
                "a plain header value: format strings such as `%REQ(x)%` are not supported",
                Some(help),
            );
        }
        Some(Self(text.to_owned()))
    }
}
