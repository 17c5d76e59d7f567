//! Istio's `Headers`: changes to the headers of requests and responses.

use std::collections::BTreeMap;

use http::header::HeaderName;

use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::Spanned;
use crate::route::{FormatError, HeaderText};
use crate::yaml::shortened;

/// Istio's `Headers`.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Changes to the request.
    pub request: HeaderRules,
    /// Changes to the response.
    pub response: HeaderRules,
}

impl Headers {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

impl HeaderRules {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
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
        let mut set = values(f, "set", direction);
        let mut add = values(f, "add", direction);
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
    direction: Direction,
) -> BTreeMap<String, Spanned<String>> {
    let entries = f
        .get(field)
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut values = BTreeMap::new();
    for (name, cursor) in entries {
        let lower = name.to_ascii_lowercase();
        let is_authority = lower == ":authority" || lower == "host";
        let (name, value) = if is_authority && direction == Direction::Request {
            (Some(lower), value(&cursor, Made::Never))
        } else {
            let made = match direction {
                Direction::Request => Made::OfRequest,
                Direction::Response => Made::OfBoth,
            };
            (changed_header(&cursor, name), value(&cursor, made))
        };
        if let (Some(name), Some(value)) = (name, value) {
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

/// A header that may be set or added: none that says how a message is framed or what its connection does.
fn changed_header(cursor: &Cursor<'_>, name: &str) -> Option<String> {
    let name = header_name(cursor, name)?;
    if !FRAMING.contains(&name.as_str()) {
        return Some(name);
    }
    let message = format!("`{name}` is the proxy's own: it says how the message is framed");
    let at = cursor.key_at();
    cursor.context.report(Diagnostic::error(
        codes::INVALID_VALUE,
        at,
        &cursor.path,
        message,
    ));
    None
}

/// Headers of the framing and of the hop (RFC 9110 §7.6.1, RFC 9112 §6).
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a value may be made of for each request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// It is the same for every request.
    Never,
    /// Of the request.
    OfRequest,
    /// Of the request and its response.
    OfBoth,
}

/// A valid header value, or a format string of the subset that is supported; the others would be sent literally.
fn value(cursor: &Cursor<'_>, made: Made) -> Option<String> {
    let text = cursor.text()?;
    let problem = match HeaderText::parse(text) {
        Ok(HeaderText::Fixed(_)) => return Some(text.to_owned()),
        Ok(HeaderText::Made(_)) if made == Made::Never => {
            "a plain host: the Host is the same for every request"
        }
        Ok(found) if made == Made::OfRequest && found.reads_response() => {
            "a value of the request: there is no response yet that `%RESP(…)%` could read"
        }
        Ok(HeaderText::Made(_)) => return Some(text.to_owned()),
        Err(FormatError::Text) => return cursor.invalid("a header value"),
        Err(FormatError::Unclosed | FormatError::Unknown(_) | FormatError::Name(_)) => {
            let help = format!("write `%%` for a percent sign, or one of {SUPPORTED}");
            return cursor.invalid_with("a header value or a supported format string", Some(help));
        }
    };
    cursor.invalid(problem)
}

/// The commands of format strings that are supported.
const SUPPORTED: &str = "`%REQ(x)%`, `%RESP(x)%`, `%PROTOCOL%`, `%DOWNSTREAM_REMOTE_ADDRESS%`, \
     `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%`";
