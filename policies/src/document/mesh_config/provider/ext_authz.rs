//! `envoyExtAuthzHttp` and `envoyExtAuthzGrpc`: services that are asked about requests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ProviderService, part, service};
use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::codes;

/// What both kinds of authorization service have.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtAuthz {
    /// `service` and `port`.
    pub at: ProviderService,
    /// `timeout`, default 600s.
    pub timeout: Option<Duration>,
    /// `failOpen`: requests pass if the service does not answer; default false.
    pub fail_open: bool,
    /// `statusOnError`: what clients get if it does not answer; default 403.
    pub status_on_error: Option<u16>,
    /// `clearRouteCache`: the route is looked up again afterwards; default false.
    pub clear_route_cache: bool,
    /// `includeRequestBodyInCheck`.
    pub request_body: Option<RequestBodyInCheck>,
}

/// `includeRequestBodyInCheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBodyInCheck {
    /// `maxRequestBytes`.
    pub max_request_bytes: u32,
    /// `allowPartialMessage`: a longer body is cut, and not refused with 413.
    pub allow_partial_message: bool,
    /// `packAsBytes`: bytes, not UTF-8; gRPC only.
    pub pack_as_bytes: bool,
}

/// `envoyExtAuthzHttp`. Names of headers may be `exact`, `prefix*` or `*suffix`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtAuthzHttp {
    /// What both kinds have.
    pub common: ExtAuthz,
    /// `pathPrefix` of the check's path.
    pub path_prefix: String,
    /// `includeRequestHeadersInCheck`; `includeHeadersInCheck` is its old name.
    pub request_headers: Vec<String>,
    /// `includeAdditionalHeadersInCheck`.
    pub additional_headers: BTreeMap<String, String>,
    /// `headersToUpstreamOnAllow`.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// `headersToDownstreamOnDeny`.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// `headersToDownstreamOnAllow`.
    pub headers_to_downstream_on_allow: Vec<String>,
}

pub(super) fn ext_authz(f: &mut Fields<'_>) -> Option<ExtAuthz> {
    let at = service(f);
    let timeout = f.optional("timeout");
    let fail_open = f.or_default("failOpen");
    let status_on_error = f.get("statusOnError").and_then(|cursor| {
        let text = cursor.text()?;
        match text.parse::<u16>() {
            Ok(status @ 200..=599) => Some(status),
            _ => cursor.invalid("an HTTP status as a text, as in `\"503\"`"),
        }
    });
    let clear_route_cache = f.or_default("clearRouteCache");
    let request_body = part(f, "includeRequestBodyInCheck", |f| {
        let max_request_bytes = f.required::<MaxRequestBytes>("maxRequestBytes");
        let allow_partial_message = f.or_default("allowPartialMessage");
        let pack_as_bytes = f.or_default("packAsBytes");
        Some(RequestBodyInCheck {
            max_request_bytes: max_request_bytes?.0,
            allow_partial_message,
            pack_as_bytes,
        })
    });
    Some(ExtAuthz {
        at: at?,
        timeout,
        fail_open,
        status_on_error,
        clear_route_cache,
        request_body,
    })
}

pub(super) fn ext_authz_http(f: &mut Fields<'_>) -> Option<ExtAuthzHttp> {
    let path_prefix = f.get("pathPrefix").and_then(|cursor| match cursor.text()? {
        path if path.is_empty() || path.starts_with('/') => Some(path.to_owned()),
        _ => cursor.invalid("a path that starts with `/`"),
    });
    let mut request_headers = headers(f, "includeRequestHeadersInCheck");
    let newer_beside = f.has("includeRequestHeadersInCheck");
    if let Some(old) = f.get("includeHeadersInCheck") {
        old.deprecated_name(
            "includeHeadersInCheck",
            "includeRequestHeadersInCheck",
            newer_beside,
        );
    }
    request_headers.extend(headers(f, "includeHeadersInCheck"));
    let additional_headers = additional_headers(f);
    let headers_to_upstream_on_allow = headers(f, "headersToUpstreamOnAllow");
    let headers_to_downstream_on_deny = headers(f, "headersToDownstreamOnDeny");
    let headers_to_downstream_on_allow = headers(f, "headersToDownstreamOnAllow");
    Some(ExtAuthzHttp {
        common: ext_authz(f)?,
        path_prefix: path_prefix.unwrap_or_default(),
        request_headers,
        additional_headers,
        headers_to_upstream_on_allow,
        headers_to_downstream_on_deny,
        headers_to_downstream_on_allow,
    })
}

/// How much of a body a provider sees: Envoy takes no 0, and each request that is asked about may hold so much memory.
struct MaxRequestBytes(u32);

impl Decode for MaxRequestBytes {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        match u32::decode(cursor)? {
            bytes @ 1..=MAX_REQUEST_BYTES => Some(Self(bytes)),
            _ => cursor.invalid("a number of bytes between 1 and 16777216"),
        }
    }
}

/// The most of a body that may be held for a check: 16 MiB.
const MAX_REQUEST_BYTES: u32 = 16 * 1024 * 1024;

/// Headers that every check carries. Envoy would replace `%…%` in their values; a literal `%` is written `%%`.
fn additional_headers(f: &mut Fields<'_>) -> BTreeMap<String, String> {
    const FIELD: &str = "includeAdditionalHeadersInCheck";
    let read: BTreeMap<String, HeaderText> = f.map(FIELD);
    let mut headers = BTreeMap::new();
    for (name, HeaderText(text)) in read {
        let lower = name.to_ascii_lowercase();
        if is_header_name(&lower) && !FRAMING.contains(&lower.as_str()) {
            headers.insert(lower, text);
        } else if let Some(cursor) = f.get(FIELD) {
            let message = format!("`{name}` is no header that a check can carry");
            cursor.error(codes::INVALID_VALUE, message, None);
        }
    }
    headers
}

/// Headers that belong to the check's own request.
const FRAMING: &[&str] = &[
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
];

fn is_header_name(text: &str) -> bool {
    http::HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// Text in a header, without placeholders.
struct HeaderText(String);

impl Decode for HeaderText {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if text
            .bytes()
            .any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f)
        {
            return cursor.invalid("the value of a header");
        }
        let mut parts = text.split("%%");
        if parts.any(|part| part.contains('%')) {
            let help = "Envoy's placeholders are not supported; write `%%` for a percent sign";
            return cursor.invalid_with("a text without placeholders", Some(help.to_owned()));
        }
        Some(Self(text.replace("%%", "%")))
    }
}

/// Names of headers with at most one `*`, at an end.
fn headers(f: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    let patterns = f.list::<HeaderPattern>(name).into_iter();
    patterns.map(|HeaderPattern(text)| text).collect()
}

struct HeaderPattern(String);

impl Decode for HeaderPattern {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let inner = text
            .strip_prefix('*')
            .or_else(|| text.strip_suffix('*'))
            .unwrap_or(text);
        if inner.contains('*') || !is_header_name(inner) {
            let help = "write `x-name`, `x-*` or `*-name`";
            return cursor.invalid_with("the name of a header", Some(help.to_owned()));
        }
        Some(Self(text.to_ascii_lowercase()))
    }
}
