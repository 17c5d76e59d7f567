//! The facts of a decision, kept beyond the request, and as people read and write them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use authz::explain::Named;
use authz::{Claims, Facts, HttpFacts, PathError, PolicySet, normalize};
use http::{HeaderMap, HeaderName, HeaderValue};
use identity::SpiffeId;
use policies::mesh::PathNormalization;
use policies::raw::{REDACTED, is_secret_name};
use runtime::escape::{escape, escape_bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::shown::ExplanationShown;

/// The longest text of a stranger's that is kept, in bytes; a longer one is cut.
const LONGEST: usize = 4096;
/// How many bytes of header values are kept together.
const HEADER_BYTES: usize = 8192;

/// Facts that outlive their request: bounded, with those headers and claims alone that policies look at.
#[derive(Debug, Clone)]
pub(super) struct HeldFacts {
    peer: Option<SpiffeId>,
    source_ip: IpAddr,
    remote_ip: IpAddr,
    destination_ip: IpAddr,
    destination_port: u16,
    sni: Option<Box<str>>,
    http: Option<HeldHttp>,
    /// Something was too long to keep: an explanation may differ from what was decided.
    pub(super) cut: bool,
}

#[derive(Debug, Clone)]
struct HeldHttp {
    method: Box<str>,
    host: Box<str>,
    path: Box<str>,
    /// Credentials too, where a policy looks at them: they are judged again and never shown.
    headers: HeaderMap,
    claims: Option<Claims>,
}

impl HeldFacts {
    /// Keeps what an explanation will need.
    pub(super) fn hold(facts: &Facts<'_>, named: &Named) -> Self {
        let mut cut = false;
        let mut text = |text: &str| -> Box<str> {
            let kept = text
                .get(..text.floor_char_boundary(LONGEST))
                .unwrap_or(text);
            cut |= kept.len() < text.len();
            kept.into()
        };
        let mut http = facts.http.as_ref().map(|http| HeldHttp {
            method: text(http.method),
            host: text(http.host),
            path: text(http.path),
            headers: HeaderMap::new(),
            claims: http.claims.map(|claims| claims_of(claims, &named.claims)),
        });
        let sni = facts.sni.map(&mut text);
        if let (Some(held), Some(sent)) = (&mut http, &facts.http) {
            cut |= !keep_headers(&mut held.headers, sent.headers, &named.headers);
        }
        Self {
            peer: facts.peer.cloned(),
            source_ip: facts.source_ip,
            remote_ip: facts.remote_ip,
            destination_ip: facts.destination_ip,
            destination_port: facts.destination_port,
            sni,
            http,
            cut,
        }
    }

    /// The facts, to be judged again.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            peer: self.peer.as_ref(),
            source_ip: self.source_ip,
            remote_ip: self.remote_ip,
            destination_ip: self.destination_ip,
            destination_port: self.destination_port,
            sni: self.sni.as_deref(),
            http: self.http.as_ref().map(|http| HttpFacts {
                method: &http.method,
                host: &http.host,
                path: &http.path,
                headers: &http.headers,
                claims: http.claims.as_ref(),
            }),
        }
    }

    /// The facts, to be read.
    pub(super) fn shown(&self) -> RequestFacts {
        let clean = |text: &str| escape(text, LONGEST).into_owned();
        let http = self.http.as_ref();
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in http.iter().flat_map(|http| &http.headers) {
            let shown = if is_secret_name(name.as_str()) {
                REDACTED.to_owned()
            } else {
                escape_bytes(value.as_bytes(), LONGEST).into_owned()
            };
            headers.entry(name.to_string()).or_default().push(shown);
        }
        RequestFacts {
            protocol: if http.is_some() {
                Protocol::Http
            } else {
                Protocol::Tcp
            },
            mtls: self.peer.is_some(),
            principal: self.peer.as_ref().map(|peer| peer.principal().to_owned()),
            source_ip: Some(self.source_ip),
            remote_ip: Some(self.remote_ip),
            destination_ip: Some(self.destination_ip),
            destination_port: Some(self.destination_port),
            sni: self.sni.as_deref().map(clean),
            method: http.map(|http| clean(&http.method)),
            host: http.map(|http| clean(&http.host)),
            path: http.map(|http| clean(&http.path)),
            headers: headers
                .into_iter()
                .map(|(name, values)| (name, OneOrMore::More(values)))
                .collect(),
            claims: http.and_then(|http| http.claims.as_ref()).map(shown_claims),
        }
    }
}

/// The claims that policies name; the others are nobody's business.
fn claims_of(claims: &Claims, named: &[String]) -> Claims {
    let kept = claims
        .as_map()
        .iter()
        .filter(|(name, _)| named.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()));
    Claims::new(kept.collect(), &[])
}

/// Claims to be read: a policy may look at one that is a credential.
fn shown_claims(claims: &Claims) -> Map<String, Value> {
    let mut shown = claims.as_map().clone();
    for (name, value) in &mut shown {
        if is_secret_name(name) {
            *value = REDACTED.into();
        }
    }
    shown
}

/// Copies the named headers; false if they are too many or too long.
fn keep_headers(held: &mut HeaderMap, sent: &HeaderMap, named: &[HeaderName]) -> bool {
    let mut left = HEADER_BYTES;
    for name in named {
        for value in sent.get_all(name) {
            let Some(rest) = left.checked_sub(value.len()) else {
                return false;
            };
            left = rest;
            if held.try_append(name.clone(), value.clone()).is_err() {
                return false;
            }
        }
    }
    true
}

/// What was spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP.
    #[default]
    Http,
    /// HTTP, with gRPC's method and content type.
    Grpc,
    /// An opaque TCP connection.
    Tcp,
}

/// A header's value, or its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several, in order.
    More(Vec<String>),
}

impl OneOrMore {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let values = match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::More(values) => values,
        };
        values.iter().map(String::as_str)
    }
}

/// The facts of a request or connection as pages, logs and people write them: the `request` of a PolicyTest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestFacts {
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether the connection is mutual TLS; without it nobody proves a principal.
    pub mtls: bool,
    /// The caller's proven identity, without `spiffe://`; none of a peer without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The direct TCP peer; by default 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<IpAddr>,
    /// The client as far as proxies in front are trusted; by default the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<IpAddr>,
    /// Our end of the connection; by default 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ip: Option<IpAddr>,
    /// The port that documents speak of; by default 8080.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// The server name of the TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// By default GET; POST for gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The authority; by default empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, raw: it is made canonical as the mesh says; by default `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Headers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, OneOrMore>,
    /// The claims of a verified token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Map<String, Value>>,
}

impl Default for RequestFacts {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http,
            mtls: true,
            principal: None,
            source_ip: None,
            remote_ip: None,
            destination_ip: None,
            destination_port: None,
            sni: None,
            method: None,
            host: None,
            path: None,
            headers: BTreeMap::new(),
            claims: None,
        }
    }
}

/// Why written facts are none.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// `principal`.
    #[error("`principal` is not an identity: {0}")]
    Principal(#[from] identity::SpiffeIdError),
    /// `path`; a proxy answers such a request with 400.
    #[error("the path has no canonical form, so it is answered with 400: {0}")]
    Path(#[from] PathError),
    /// `headers`.
    #[error("`{0}` is not a header with these values")]
    Header(String),
}

impl RequestFacts {
    /// What `policies` decide about such a request, and why.
    ///
    /// # Errors
    /// For what no request can have.
    pub fn explain(
        &self,
        policies: &PolicySet,
        normalization: PathNormalization,
    ) -> Result<ExplanationShown, FactsError> {
        let held = self.read(normalization)?;
        let explanation = policies.explain(&held.facts());
        Ok(ExplanationShown::of(&explanation, held.shown()))
    }

    /// The facts that are meant, with the path made canonical.
    ///
    /// # Errors
    /// For what no request can have.
    fn read(&self, normalization: PathNormalization) -> Result<HeldFacts, FactsError> {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let peer = match self.principal.as_deref().filter(|_| self.mtls) {
            Some(name) if name.starts_with("spiffe://") => Some(SpiffeId::parse(name)?),
            Some(name) => Some(SpiffeId::parse(&format!("spiffe://{name}"))?),
            None => None,
        };
        let source_ip = self.source_ip.unwrap_or(here);
        let http = match self.protocol {
            Protocol::Tcp => None,
            Protocol::Http | Protocol::Grpc => Some(self.read_http(normalization)?),
        };
        Ok(HeldFacts {
            peer,
            source_ip,
            remote_ip: self.remote_ip.unwrap_or(source_ip),
            destination_ip: self.destination_ip.unwrap_or(here),
            destination_port: self.destination_port.unwrap_or(8080),
            sni: self.sni.as_ref().map(|sni| sni.to_ascii_lowercase().into()),
            http,
            cut: false,
        })
    }

    fn read_http(&self, normalization: PathNormalization) -> Result<HeldHttp, FactsError> {
        let grpc = self.protocol == Protocol::Grpc;
        let path = normalize(self.path.as_deref().unwrap_or("/"), normalization)?;
        let mut headers = HeaderMap::new();
        if grpc {
            let grpc = HeaderValue::from_static("application/grpc");
            headers.insert(http::header::CONTENT_TYPE, grpc);
        }
        for (name, values) in &self.headers {
            let wrong = || FactsError::Header(name.clone());
            let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            headers.remove(&name);
            for value in values.iter() {
                let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
                headers.try_append(&name, value).map_err(|_| wrong())?;
            }
        }
        let method = self.method.as_deref();
        Ok(HeldHttp {
            method: method.unwrap_or(if grpc { "POST" } else { "GET" }).into(),
            host: self.host.as_deref().unwrap_or_default().into(),
            path: path.into(),
            headers,
            claims: self.claims.clone().map(|payload| Claims::new(payload, &[])),
        })
    }
}
