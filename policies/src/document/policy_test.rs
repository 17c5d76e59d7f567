//! PolicyTest (`portcullis.dev`): what a workload's policies are meant to decide, case by case.
//!
//! A test is no policy: among the documents of a process it has no effect. `authz::policy_test` carries it out.

mod claims;
mod matrix;
mod request;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use serde_json::{Map, Value};

pub use matrix::{Caller, Matrix, Operation};

use super::{ExtensionProvider, Meta, Spanned};
use crate::mesh::PathNormalization;
use crate::source::Location;
use crate::yaml::Node;

/// What a workload's policies are meant to decide.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// What it is called.
    pub meta: Meta,
    /// `mesh`: what holds whatever the MeshConfig among the documents says.
    pub mesh: TestMesh,
    /// `policies`: files, directories and patterns, relative to the test's file.
    pub policies: Vec<Spanned<String>>,
    /// `documents`: given inline.
    pub documents: Vec<InlineDocument>,
    /// `workload`: whose policies are asked.
    pub workload: TestWorkload,
    /// `cases`.
    pub cases: Vec<TestCase>,
    /// `matrix`.
    pub matrix: Option<Matrix>,
}

/// A document that stands within a test; it is read when the test is carried out, since it needs the test's namespace.
#[derive(Clone, Debug)]
pub struct InlineDocument(pub(crate) Node);

/// `mesh`: each setting overrides that of the documents; what is absent is left to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestMesh {
    /// `trustDomain`; without it that of the MeshConfig, or `cluster.local`.
    pub trust_domain: Option<String>,
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Option<Vec<String>>,
    /// `rootNamespace`; without it that of the MeshConfig, or `istio-system`.
    pub root_namespace: Option<String>,
    /// `pathNormalization`; without it that of the MeshConfig, or `BASE`.
    pub path_normalization: Option<PathNormalization>,
    /// `extensionProviders`: only their names and types matter, since nobody is asked.
    pub extension_providers: Option<Vec<ExtensionProvider>>,
}

/// `workload`: the workload that requests are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestWorkload {
    /// `namespace`.
    pub namespace: String,
    /// `labels`, which selectors look at; default none.
    pub labels: BTreeMap<String, String>,
    /// `serviceAccount`; default `default`, as in Kubernetes.
    pub service_account: String,
}

/// One request and what is to become of it.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// `name`.
    pub name: Spanned<String>,
    /// `request`.
    pub request: TestRequest,
    /// `expect`.
    pub expect: Spanned<Outcome>,
    /// `by`: who must decide.
    pub by: Option<Spanned<DecidedBy>>,
    /// Where the case stands.
    pub at: Location,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// `allow`: it passes.
    Allow,
    /// `deny`: it does not, whatever the client sees: 403, 400, or a connection that is closed.
    Deny,
    /// `custom`: an external provider is asked, and the case does not say what it answers.
    Custom,
    /// `unauthenticated`: its token is not accepted, 401.
    Unauthenticated,
}

impl Outcome {
    /// Every outcome, as written in `expect`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("allow", Self::Allow),
        ("deny", Self::Deny),
        ("custom", Self::Custom),
        ("unauthenticated", Self::Unauthenticated),
    ];

    /// As written in `expect`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Custom => "custom",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `by`: `[namespace/]name/rules[i]` of an AuthorizationPolicy, or `[namespace/]name` of a PeerAuthentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedBy {
    /// The namespace of the document; any, if none is written.
    pub namespace: Option<String>,
    /// The name of the document.
    pub name: String,
    /// Which of its rules, from 0; none for a PeerAuthentication.
    pub rule: Option<u16>,
}

impl fmt::Display for DecidedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        match self.rule {
            Some(rule) => write!(f, "/rules[{rule}]"),
            None => Ok(()),
        }
    }
}

/// `request.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TestProtocol {
    /// `http`.
    #[default]
    Http,
    /// `grpc`: a POST whose content type is `application/grpc`.
    Grpc,
    /// `tcp`: a connection, of which nothing of HTTP is known.
    Tcp,
}

/// `request.provider`: what an external provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// `allow`.
    Allow,
    /// `deny`.
    Deny,
}

/// `request`, with the defaults of what is not written.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// `protocol`; default `http`.
    pub protocol: TestProtocol,
    /// `mtls`: whether the connection is mutual TLS. Default true, but false where the port takes plaintext only.
    pub mtls: Option<bool>,
    /// `principal`, without `spiffe://`; default a peer without an identity. Seen with mTLS only.
    pub principal: Option<Spanned<String>>,
    /// `sourceIp`: the direct peer; default `192.0.2.1`, an address of no network (RFC 5737).
    pub source_ip: IpAddr,
    /// `remoteIp`: the client behind trusted proxies; default the `sourceIp`.
    pub remote_ip: IpAddr,
    /// `destinationIp`; default `192.0.2.2`.
    pub destination_ip: IpAddr,
    /// `destinationPort`: the workload's port, or a gateway's listener port as documents number it; default 8080.
    pub destination_port: u16,
    /// `sni` of the TLS handshake, in lower case as TLS libraries give it; default none.
    pub sni: Option<String>,
    /// `method`; default `GET`, for gRPC `POST`.
    pub method: String,
    /// `host`: the authority with its port, if it has one; default `localhost`.
    pub host: String,
    /// `path`: the target as on the wire, with its query; default `/`.
    pub path: String,
    /// `headers`.
    pub headers: HeaderMap,
    /// `claims` of a verified token; default no token.
    pub claims: Option<Map<String, Value>>,
    /// `provider`.
    pub provider: Option<ProviderAnswer>,
}

impl Default for TestRequest {
    fn default() -> Self {
        let source_ip = Ipv4Addr::new(192, 0, 2, 1).into();
        Self {
            protocol: TestProtocol::Http,
            mtls: None,
            principal: None,
            source_ip,
            remote_ip: source_ip,
            destination_ip: Ipv4Addr::new(192, 0, 2, 2).into(),
            destination_port: 8080,
            sni: None,
            method: "GET".to_owned(),
            host: "localhost".to_owned(),
            path: "/".to_owned(),
            headers: HeaderMap::new(),
            claims: None,
            provider: None,
        }
    }
}
