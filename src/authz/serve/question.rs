//! A question of Envoy's, read as the request or connection that it is about.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use authz::jwt::{TokenRules, VerifiedToken};
use authz::{normalize, split_target};
use bytes::Bytes;
use dataplane::Snapshot;
use dataplane::access::{Caller, Judged, Peeked};
use dataplane::ext_authz::wire::auth::AttributeContext;
use dataplane::ext_authz::wire::auth::attribute_context::{HttpRequest, Peer};
use dataplane::ext_authz::wire::core::address::Address;
use dataplane::ext_authz::wire::core::socket_address::PortSpecifier;
use dataplane::ext_authz::wire::core::{HeaderValue as Pair, Metadata};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use identity::SpiffeId;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::Map;

/// The filter whose metadata carry the payload of a verified token.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
/// The key of Istio's `payload_in_metadata`.
const JWT_PAYLOAD: &str = "payload";
/// Structures in a token's payload deeper than this are left out.
const DEEPEST: usize = 32;

/// What is asked about.
#[derive(Debug)]
pub(super) struct Question {
    source: SocketAddr,
    destination: SocketAddr,
    identity: Option<SpiffeId>,
    remote_ip: IpAddr,
    sni: Option<String>,
    scheme: String,
    http: Option<Asked>,
}

/// The request that is asked about.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    version: Version,
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    body: Peeked,
    /// What the asking proxy verified.
    token: Option<Arc<VerifiedToken>>,
}

/// A question about a request that could not have been one; the client gets 400.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// The path has no canonical form.
    #[error("{0}")]
    Path(authz::PathError),
    /// Some part is not what HTTP allows.
    #[error("the {0} is malformed")]
    Part(&'static str),
}

impl Question {
    /// Reads the attributes; the path becomes canonical as the mesh has it.
    pub(super) fn read(
        attributes: AttributeContext,
        snapshot: &Snapshot,
        remote_ip: Option<&HeaderName>,
    ) -> Result<Self, Malformed> {
        let source = attributes.source.unwrap_or_default();
        let destination = attributes.destination.unwrap_or_default();
        let (source_address, identity) = (address(&source), identity(&source));
        let metadata = attributes.metadata_context.as_ref();
        let http = attributes.request.and_then(|request| request.http);
        let scheme = http.as_ref().map(|http| http.scheme.clone());
        let http = match http {
            Some(http) => Some(Asked::read(http, metadata, snapshot)?),
            None => None,
        };
        let told = remote_ip.zip(http.as_ref()).and_then(|(name, http)| {
            let value = http.headers.get(name)?.to_str().ok()?;
            value.trim().parse::<IpAddr>().ok()
        });
        let sni = attributes
            .tls_session
            .map(|tls| tls.sni.to_ascii_lowercase());
        Ok(Self {
            source: source_address,
            destination: address(&destination),
            identity,
            remote_ip: told.unwrap_or_else(|| source_address.ip()),
            sni: sni.filter(|sni| !sni.is_empty()),
            scheme: scheme.unwrap_or_default(),
            http,
        })
    }

    /// Who asks, and the request; none for TCP.
    pub(super) fn parts(&mut self) -> (Caller<'_>, Option<&mut Asked>) {
        let caller = Caller {
            identity: self.identity.as_ref(),
            source: self.source,
            remote_ip: self.remote_ip,
            destination: self.destination,
            sni: self.sni.as_deref(),
            scheme: &self.scheme,
            own: None,
        };
        (caller, self.http.as_mut())
    }
}

impl Asked {
    fn read(
        http: HttpRequest,
        metadata: Option<&Metadata>,
        snapshot: &Snapshot,
    ) -> Result<Self, Malformed> {
        let (path, query) = split_target(&http.path);
        let body = if http.raw_body.is_empty() {
            Bytes::from(http.body)
        } else {
            Bytes::from(http.raw_body)
        };
        let headers = headers(http.headers, http.header_map.unwrap_or_default().headers)?;
        let cut = headers.get("x-envoy-auth-partial-body");
        Ok(Self {
            version: match http.protocol.as_str() {
                "HTTP/1.0" => Version::HTTP_10,
                "HTTP/2" => Version::HTTP_2,
                "HTTP/3" => Version::HTTP_3,
                _ => Version::HTTP_11,
            },
            method: Method::from_bytes(http.method.as_bytes())
                .map_err(|_| Malformed::Part("method"))?,
            host: http.host,
            path: normalize(path, snapshot.mesh.path_normalization)
                .map_err(Malformed::Path)?
                .into_owned(),
            query: query.map(str::to_owned),
            body: Peeked {
                bytes: body,
                whole: cut.is_none_or(|cut| cut != "true"),
            },
            token: metadata.and_then(|metadata| verified(metadata, &snapshot.tokens)),
            headers,
        })
    }
}

impl Judged for Asked {
    fn version(&self) -> Version {
        self.version
    }

    fn method(&self) -> &Method {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    fn set_query(&mut self, query: Option<String>) {
        self.query = query;
    }

    async fn peek(&mut self, max: usize) -> io::Result<Peeked> {
        let whole = self.body.whole && self.body.bytes.len() <= max;
        let shown = self.body.bytes.len().min(max);
        Ok(Peeked {
            bytes: self.body.bytes.slice(..shown),
            whole,
        })
    }

    fn verified(&self) -> Option<Arc<VerifiedToken>> {
        self.token.clone()
    }
}

/// The headers one by one if they were sent so, else by name with their values joined; without pseudo-headers.
fn headers(
    joined: std::collections::HashMap<String, String>,
    raw: Vec<Pair>,
) -> Result<HeaderMap, Malformed> {
    let joined = joined
        .into_iter()
        .map(|(name, value)| (name, value.into_bytes()));
    let pairs: Vec<(String, Vec<u8>)> = if raw.is_empty() {
        joined.collect()
    } else {
        let value = |pair: Pair| {
            let value = if pair.raw_value.is_empty() {
                pair.value.into_bytes()
            } else {
                pair.raw_value
            };
            (pair.key, value)
        };
        raw.into_iter().map(value).collect()
    };
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        if name.starts_with(':') {
            continue;
        }
        let malformed = || Malformed::Part("header");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
        let value = HeaderValue::from_bytes(&value).map_err(|_| malformed())?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// An address; what is none, as a Unix socket, is the unspecified one, which no rule about addresses means.
fn address(peer: &Peer) -> SocketAddr {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let Some(Address::SocketAddress(socket)) = peer
        .address
        .as_ref()
        .and_then(|place| place.address.as_ref())
    else {
        return nowhere;
    };
    let port = match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap_or_default(),
        _ => 0,
    };
    match socket.address.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port),
        Err(_) => nowhere,
    }
}

/// The identity that the asking proxy verified; another name than a SPIFFE ID is none.
fn identity(peer: &Peer) -> Option<SpiffeId> {
    SpiffeId::parse(&peer.principal).ok()
}

/// The payload that the asking proxy's `jwt_authn` verified: the one called `payload` (Istio), or the only one. Where
/// the documents have token rules it has to suit them; otherwise the request's own token is looked at.
fn verified(metadata: &Metadata, rules: &TokenRules) -> Option<Arc<VerifiedToken>> {
    let found = &metadata.filter_metadata.get(JWT_FILTER)?.fields;
    let mut payloads = found.iter().filter_map(|(name, value)| match &value.kind {
        Some(Kind::StructValue(payload)) => Some((name, payload)),
        _ => None,
    });
    let istio = payloads.clone().find(|(name, _)| *name == JWT_PAYLOAD);
    let (_, payload) = match istio {
        Some(istio) => istio,
        None => payloads.next().filter(|_| payloads.next().is_none())?,
    };
    let payload = object(payload, DEEPEST);
    Some(Arc::new(VerifiedToken {
        claims: rules.accepts(&payload, SystemTime::now()).ok()?,
        payload: Arc::new(payload),
    }))
}

fn object(from: &Struct, depth: usize) -> Map<String, serde_json::Value> {
    let fields = from.fields.iter();
    fields
        .map(|(name, value)| (name.clone(), json(value, depth)))
        .collect()
}

fn json(from: &Value, depth: usize) -> serde_json::Value {
    let Some(depth) = depth.checked_sub(1) else {
        return serde_json::Value::Null;
    };
    match &from.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::NumberValue(value)) => (*value).into(),
        Some(Kind::StringValue(value)) => value.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(|value| json(value, depth)).collect(),
        Some(Kind::StructValue(value)) => object(value, depth).into(),
    }
}
