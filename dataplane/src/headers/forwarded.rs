//! `x-forwarded-for` and `x-forwarded-proto`, and the client's address behind trusted proxies.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// `x-forwarded-for`.
pub static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `x-forwarded-proto`.
pub static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// `x-envoy-external-address`: the client's address, as the edge trusts it. Only a gateway sets it.
pub static EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");

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

/// Says who the client is, for whoever is behind the edge.
pub fn set_external_address(headers: &mut HeaderMap, client: IpAddr) {
    if let Ok(value) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        headers.insert(&EXTERNAL_ADDRESS, value);
    }
}

/// The client's address as a gateway says it: `x-envoy-external-address`, else the last entry of `x-forwarded-for`,
/// else the gateway itself. Believe nobody else.
pub fn address_by_gateway(headers: &HeaderMap, gateway: IpAddr) -> IpAddr {
    let mut said = headers.get_all(&EXTERNAL_ADDRESS).iter();
    match (said.next(), said.next()) {
        (Some(address), None) => address.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    }
    .unwrap_or_else(|| client_address(headers, gateway, 1))
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
