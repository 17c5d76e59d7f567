//! Headers that end at this hop (RFC 9110 §7.6.1), and headers that only the mesh may set.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether an `Upgrade` travels on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrades {
    /// Upgrade headers are removed like every hop-by-hop header.
    Strip,
    /// `Upgrade` and `Connection: upgrade` stay: the exchange itself is an upgrade.
    Keep,
}

/// Headers that are hop-by-hop whether or not `Connection` names them.
static HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Headers that `Connection` may not nominate away: framing, routing, credentials and what proxies add.
static PROTECTED: [HeaderName; 17] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::DATE,
    header::CACHE_CONTROL,
    header::TRAILER,
    header::VIA,
    header::ORIGIN,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-timeout"),
];

/// Prefixes of the same kind.
const PROTECTED_PREFIXES: [&str; 5] = [
    "x-forwarded-",
    "x-envoy-",
    "x-istio-",
    "x-portcullis-",
    "x-b3-",
];

/// Removes hop-by-hop headers from a request or response.
///
/// `TE: trailers` stays, because gRPC needs it from end to end.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, upgrades: Upgrades) {
    let mut upgrade = None;
    if headers.contains_key(header::CONNECTION) {
        let mut nominated: Vec<HeaderName> = Vec::new();
        for token in headers.get_all(header::CONNECTION).iter().flat_map(tokens) {
            if let Ok(name) = HeaderName::from_bytes(token)
                && !is_protected(&name)
                && headers.contains_key(&name)
            {
                nominated.push(name);
            }
        }
        if upgrades == Upgrades::Keep {
            upgrade = headers.remove(header::UPGRADE);
        }
        for name in nominated.iter().filter(|name| **name != header::TE) {
            headers.remove(name);
        }
    }
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .flat_map(tokens)
        .any(is_trailers);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Removes what a client outside the mesh may not say: Envoy's and Istio's internal headers and ours.
/// `x-forwarded-client-cert` has rules of its own: [`super::apply_xfcc`].
pub fn strip_edge(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| is_internal(name.as_str())) {
        return;
    }
    let internal: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_internal(name.as_str()))
        .cloned()
        .collect();
    for name in internal {
        headers.remove(name);
    }
}

/// Removes headers that differ only by underscores from those by which proxies say who a client is: an application
/// behind CGI or WSGI reads both as one.
pub fn strip_lookalikes(headers: &mut HeaderMap) {
    let looks_alike = |name: &HeaderName| {
        let hyphens = name.as_str().replace('_', "-");
        is_internal(&hyphens) || hyphens.starts_with("x-forwarded-")
    };
    let strange: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_') && looks_alike(name))
        .cloned()
        .collect();
    for name in strange {
        headers.remove(name);
    }
}

fn is_internal(name: &str) -> bool {
    ["x-envoy-", "x-istio-", "x-portcullis-"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || name == "x-forwarded-client-cert"
}

/// The first header whose name has an underscore: some servers take it for a hyphen, so that it could pass
/// as a header we removed. The edge refuses such requests.
pub fn underscore_name(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| name.as_str().contains('_'))
}

/// The protocol a request wants to upgrade to: `Upgrade` counts only with `Connection: upgrade`.
pub fn wants_upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    let nominated = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(tokens)
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    nominated.then_some(protocol)
}

/// Whether the request is a WebSocket handshake, the upgrade that proxies carry.
pub fn websocket_upgrade(headers: &HeaderMap) -> bool {
    wants_upgrade(headers).is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn is_protected(name: &HeaderName) -> bool {
    PROTECTED.contains(name)
        || PROTECTED_PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
}

fn is_trailers(token: &[u8]) -> bool {
    // `trailers` takes no weight, but some clients send one.
    token
        .split(|b| *b == b';')
        .next()
        .is_some_and(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}
