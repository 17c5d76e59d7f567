//! `x-forwarded-for` and `x-forwarded-proto`, and the client's address behind trusted proxies.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// `x-forwarded-for`.
pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`.
pub static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Appends the peer's address, so that the header's last entry is always the proxy's own observation.
pub fn append_forwarded_for(headers: &mut HeaderMap, peer: IpAddr) {
    let mut joined: Vec<u8> = Vec::new();
    for value in headers.get_all(&FORWARDED_FOR) {
        if !joined.is_empty() {
            joined.extend_from_slice(b",");
        }
        joined.extend_from_slice(value.as_bytes());
    }
    if !joined.is_empty() {
        joined.extend_from_slice(b",");
    }
    joined.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(&FORWARDED_FOR, value);
    }
}

/// Sets the scheme the client used; what the client itself says about it is replaced.
pub fn set_forwarded_proto(headers: &mut HeaderMap, scheme: &'static str) {
    headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(scheme));
}

/// The client's address: with `trusted` proxies in front, the `trusted`-th entry from the right of the
/// received header, else the peer (istio-semantics: gateway `numTrustedProxies`). Anything that is not an
/// address, or too few entries, means the peer. Call it before [`append_forwarded_for`].
pub fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: usize) -> IpAddr {
    let Some(skip) = trusted.checked_sub(1) else {
        return peer;
    };
    let values: Vec<&HeaderValue> = headers.get_all(&FORWARDED_FOR).iter().collect();
    values
        .iter()
        .rev()
        .flat_map(|v| v.as_bytes().rsplit(|b| *b == b','))
        .nth(skip)
        .and_then(|entry| std::str::from_utf8(entry.trim_ascii()).ok()?.parse().ok())
        .unwrap_or(peer)
}
