//! What a rule answers itself, and how it changes the path and Host of what it forwards.

use crate::decode::{Cursor, Decode, NonEmpty, Port, RegexText};
use crate::diagnostic::codes;
use crate::source::Location;

/// Largest body of a direct response, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Istio's `HTTPRedirect`.
#[derive(Clone, Debug)]
pub struct HttpRedirect {
    /// Where it stands.
    pub at: Location,
    /// `uri`: replaces the whole path.
    pub uri: Option<String>,
    /// `authority`: replaces the host.
    pub authority: Option<String>,
    /// `port` or `derivePort`.
    pub port: Option<RedirectPort>,
    /// `scheme`: `http` or `https`.
    pub scheme: Option<String>,
    /// `redirectCode`: 301 (if not given), 302, 303, 307 or 308.
    pub code: u16,
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPort {
    /// `port`.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`: 80 or 443, so not shown.
    ProtocolDefault,
    /// `derivePort: FROM_REQUEST_PORT`.
    Request,
}

/// Istio's `HTTPDirectResponse`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Where it stands.
    pub at: Location,
    /// `status`, 200 to 599.
    pub status: u16,
    /// `body.string` or `body.bytes`, at most 1 MiB.
    pub body: Vec<u8>,
}

/// Istio's `HTTPRewrite`.
#[derive(Clone, Debug)]
pub struct HttpRewrite {
    /// Where it stands.
    pub at: Location,
    /// `uri`: replaces the matched prefix, or the whole path after an exact or regular expression match.
    pub uri: Option<String>,
    /// `authority`: replaces the Host.
    pub authority: Option<String>,
    /// `uriRegexRewrite`.
    pub regex: Option<RegexRewrite>,
}

/// Istio's `RegexRewrite`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexRewrite {
    /// `match`: what is replaced, every occurrence.
    pub pattern: String,
    /// `rewrite`: with `\1` for groups.
    pub rewrite: String,
}

impl Decode for HttpRedirect {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let uri = f.optional("uri");
            let authority = f.optional("authority");
            let number = f
                .optional::<Port>("port")
                .map(|Port(port)| RedirectPort::Number(port));
            let derived = f.get("derivePort").and_then(|cursor| {
                cursor.one_of(&[
                    ("FROM_PROTOCOL_DEFAULT", RedirectPort::ProtocolDefault),
                    ("FROM_REQUEST_PORT", RedirectPort::Request),
                ])
            });
            let scheme = f
                .get("scheme")
                .and_then(|cursor| cursor.one_of(&[("http", "http"), ("https", "https")]));
            let code = f.optional::<RedirectCode>("redirectCode");
            f.exclusive(&["port", "derivePort"]);
            f.any_of(&["uri", "authority", "port", "derivePort", "scheme"]);
            Some(Self {
                at: f.cursor().at(),
                uri,
                authority,
                port: number.or(derived),
                scheme: scheme.map(str::to_owned),
                code: code.map_or(301, |RedirectCode(code)| code),
            })
        })
    }
}

/// The statuses that make clients follow `location`.
struct RedirectCode(u16);

impl Decode for RedirectCode {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(code @ (301 | 302 | 303 | 307 | 308)) => Some(Self(code)),
            _ => cursor.invalid("one of 301, 302, 303, 307, 308"),
        }
    }
}

impl Decode for DirectResponse {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let status = f.required::<Status>("status");
            let body = f
                .optional::<Body>("body")
                .map_or_else(Vec::new, |Body(body)| body);
            if body.len() > MAX_BODY {
                let message = "the body is longer than 1 MiB";
                f.error_at("body", codes::INVALID_VALUE, message, None);
            }
            Some(Self {
                at: f.cursor().at(),
                status: status?.0,
                body,
            })
        })
    }
}

/// Istio's `HTTPBody`.
struct Body(Vec<u8>);

impl Decode for Body {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let text = f.optional::<String>("string").map(String::into_bytes);
            let bytes = f.optional::<Base64>("bytes").map(|Base64(bytes)| bytes);
            f.exclusive(&["string", "bytes"]);
            Some(Self(text.or(bytes).unwrap_or_default()))
        })
    }
}

struct Base64(Vec<u8>);

impl Decode for Base64 {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        super::base64::decode(cursor.text()?)
            .map(Self)
            .or_else(|| cursor.invalid("base64"))
    }
}

/// A status that a final answer may have.
pub(super) struct Status(pub(super) u16);

impl Decode for Status {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u16::try_from(u32::decode(cursor)?) {
            Ok(status @ 200..=599) => Some(Self(status)),
            _ => cursor.invalid("a status between 200 and 599"),
        }
    }
}

impl Decode for HttpRewrite {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let uri = f.optional::<NonEmpty>("uri").map(|NonEmpty(uri)| uri);
            let authority = f.optional::<Authority>("authority");
            let regex = f.optional("uriRegexRewrite");
            f.exclusive(&["uri", "uriRegexRewrite"]);
            f.any_of(&["uri", "authority", "uriRegexRewrite"]);
            Some(Self {
                at: f.cursor().at(),
                uri,
                authority: authority.map(|Authority(host)| host),
                regex,
            })
        })
    }
}

/// A Host header's value.
struct Authority(String);

impl Decode for Authority {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        match http::uri::Authority::try_from(text) {
            Ok(_) => Some(Self(text.to_owned())),
            Err(_) => cursor.invalid("a host"),
        }
    }
}

impl Decode for RegexRewrite {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let pattern = f.required::<RegexText>("match");
            let rewrite = f.required::<NonEmpty>("rewrite");
            Some(Self {
                pattern: pattern?.0,
                rewrite: rewrite?.0,
            })
        })
    }
}
