//! What a gRPC provider is told: Envoy's attributes of a request or connection.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::SystemTime;

use http::Version;
use http::header::{self, HeaderMap};
use identity::SpiffeId;

use super::http::PARTIAL_BODY;
use super::wire::auth::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use super::wire::auth::{AttributeContext, CheckRequest as Question};
use super::wire::core::address::Address as Place;
use super::wire::core::socket_address::PortSpecifier;
use super::wire::core::{Address, SocketAddress};
use super::{CheckHttp, CheckRequest};

/// The message. The body goes as bytes if `packed`, otherwise as text with what is not UTF-8 replaced (Envoy).
pub(super) fn question(check: &CheckRequest<'_>, packed: bool) -> Question {
    let request = check.http.as_ref().map(|http| Request {
        time: Some(SystemTime::now().into()),
        http: Some(http_request(http, packed)),
    });
    Question {
        attributes: Some(AttributeContext {
            source: Some(peer(check.source, check.source_principal)),
            destination: Some(peer(check.destination, check.destination_principal)),
            request,
            tls_session: check.sni.map(|sni| TlsSession {
                sni: sni.to_owned(),
            }),
            ..AttributeContext::default()
        }),
    }
}

fn peer(address: SocketAddr, principal: Option<&SpiffeId>) -> Peer {
    let socket = SocketAddress {
        address: address.ip().to_canonical().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
        ..SocketAddress::default()
    };
    Peer {
        address: Some(Address {
            address: Some(Place::SocketAddress(socket)),
        }),
        principal: principal.map(ToString::to_string).unwrap_or_default(),
        ..Peer::default()
    }
}

fn http_request(http: &CheckHttp<'_>, packed: bool) -> HttpRequest {
    let mut headers = joined(http.headers);
    for (name, value) in [
        (":authority", http.host),
        (":method", http.method.as_str()),
        (":path", http.target),
        (":scheme", http.scheme),
    ] {
        headers.insert(name.to_owned(), value.to_owned());
    }
    let mut request = HttpRequest {
        id: text_of(http.headers, "x-request-id"),
        method: http.method.as_str().to_owned(),
        path: http.target.to_owned(),
        host: http.host.to_owned(),
        scheme: http.scheme.to_owned(),
        size: size(http),
        protocol: protocol(http.version).to_owned(),
        ..HttpRequest::default()
    };
    if let Some((body, complete)) = &http.body {
        let partial = if *complete { "false" } else { "true" };
        headers.insert(PARTIAL_BODY.as_str().to_owned(), partial.to_owned());
        if packed {
            request.raw_body = body.to_vec();
        } else {
            request.body = String::from_utf8_lossy(body).into_owned();
        }
    }
    request.headers = headers;
    request
}

/// The headers by name; several of one name are joined as HTTP says (RFC 9110 §5.3, RFC 9113 §8.2.3).
fn joined(headers: &HeaderMap) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = HashMap::with_capacity(headers.keys_len() + 5);
    // A client's own word about the body would contradict ours; Host is `:authority`.
    let told = headers
        .iter()
        .filter(|(name, _)| **name != PARTIAL_BODY && **name != header::HOST);
    for (name, value) in told {
        let value = String::from_utf8_lossy(value.as_bytes());
        if let Some(before) = all.get_mut(name.as_str()) {
            before.push_str(if *name == header::COOKIE { "; " } else { "," });
            before.push_str(&value);
        } else {
            all.insert(name.as_str().to_owned(), value.into_owned());
        }
    }
    all
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// The bytes of the body, as far as they are known.
fn size(http: &CheckHttp<'_>) -> i64 {
    let declared = text_of(http.headers, header::CONTENT_LENGTH.as_str());
    let whole = http.body.as_ref().filter(|(_, complete)| *complete);
    let seen = whole.and_then(|(body, _)| i64::try_from(body.len()).ok());
    declared.parse().ok().or(seen).unwrap_or(-1)
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}
