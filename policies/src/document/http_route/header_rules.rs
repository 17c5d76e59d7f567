//! How header matches and header changes are read.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};

use super::{HeaderRules, Headers};
use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::string_match::ValueMatch;
use crate::document::{Spanned, StringMatch};

/// Matches by header name; names in lower case.
pub(super) fn matches(
    f: &mut Fields<'_>,
    field: &'static str,
) -> BTreeMap<String, Spanned<StringMatch>> {
    let Some(entries) = f.get(field).and_then(|cursor| cursor.entries()) else {
        return BTreeMap::new();
    };
    let mut matches = BTreeMap::new();
    for (name, cursor) in entries {
        if name.starts_with("@request.auth.") {
            let message =
                "matches on token claims are not in force, and a security field is never ignored";
            f.report(Diagnostic::error(
                codes::SECURITY_FIELD_NOT_IN_FORCE,
                cursor.key_at(),
                &cursor.path,
                format!("`{name}`: {message}"),
            ));
            continue;
        }
        let instead = match name {
            ":path" => Some("uri"),
            ":method" => Some("method"),
            ":authority" => Some("authority"),
            ":scheme" => Some("scheme"),
            _ => None,
        };
        if let Some(name) = header_name(&cursor, name, instead)
            && let Some(ValueMatch(found)) = ValueMatch::decode(&cursor)
        {
            matches.insert(name, cursor.spanned(found));
        }
    }
    matches
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
        let set = values(f, "set", direction == Direction::Request);
        let add = values(f, "add", false);
        let mut remove = Vec::new();
        for item in f
            .get("remove")
            .and_then(|cursor| cursor.items())
            .unwrap_or_default()
        {
            if let Some(name) = item.text().and_then(|name| header_name(&item, name, None)) {
                remove.push(item.spanned(name));
            }
        }
        Some(HeaderRules { set, add, remove })
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
            header_name(&cursor, name, None)
        };
        if let (Some(name), Some(value)) = (name, header_value(&cursor)) {
            values.insert(name, cursor.spanned(value));
        }
    }
    values
}

/// A valid header name in lower case. Host and pseudo headers are refused.
fn header_name(cursor: &Cursor<'_>, name: &str, instead: Option<&str>) -> Option<String> {
    let report = |message: String, help: Option<String>| {
        let diagnostic =
            Diagnostic::error(codes::INVALID_VALUE, cursor.key_at(), &cursor.path, message);
        cursor.context.report(diagnostic.with_help_if(help));
        None
    };
    if let Some(instead) = instead {
        return report(
            format!("`{name}` is no header"),
            Some(format!("use `{instead}`")),
        );
    }
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) if name == http::header::HOST => report(
            "`host` can only be set, and only on requests".to_owned(),
            None,
        ),
        Ok(name) => Some(name.as_str().to_owned()),
        Err(_) => report(
            format!("`{}` is not a header name", crate::yaml::shortened(name)),
            None,
        ),
    }
}

/// A valid header value. Envoy's format strings would be sent literally, so they are refused; `%%` is `%`.
fn header_value(cursor: &Cursor<'_>) -> Option<String> {
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
    Some(text.to_owned())
}
