//! CUSTOM: asks an extension provider (Envoy's ext_authz over HTTP or gRPC) about a request.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Version};
use identity::SpiffeId;

use crate::local_reply::LocalReply;
use crate::snapshot::Snapshot;

/// What a provider is told about a request, or about a TCP connection.
#[derive(Debug)]
pub struct CheckRequest<'a> {
    /// The peer's verified identity.
    pub source_principal: Option<&'a SpiffeId>,
    /// Our own identity.
    pub destination_principal: Option<&'a SpiffeId>,
    /// The direct TCP peer.
    pub source: SocketAddr,
    /// Our end of the connection, with the port that documents speak of.
    pub destination: SocketAddr,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The request; none for TCP, which only gRPC providers can judge.
    pub http: Option<CheckHttp<'a>>,
}

/// The HTTP part of a [`CheckRequest`].
#[derive(Debug)]
pub struct CheckHttp<'a> {
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The authority.
    pub host: &'a str,
    /// The canonical path, with the query.
    pub target: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The request's body, as far as the provider wants it ([`ExtAuthz::wanted_body`]); whether it is all of it.
    pub body: Option<(Bytes, bool)>,
}

/// How much of a request's body a provider wants to see (`includeRequestBodyInCheck`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedBody {
    /// At most so many bytes.
    pub max: usize,
    /// A longer body is cut; otherwise it is refused with 413.
    pub allow_partial: bool,
}

/// What a provider answered.
#[derive(Debug)]
pub enum CheckAnswer {
    /// The request goes on, changed like this.
    Allow(Box<Allowed>),
    /// The provider's own answer for the client.
    Deny(Box<Response<Bytes>>),
    /// The provider did not answer, and may not be missing: what the client gets.
    Failed(Box<LocalReply>),
}

/// What a provider changes in a request that it lets pass.
#[derive(Debug, Default)]
pub struct Allowed {
    /// Header changes of the request, in order.
    pub request: Vec<HeaderChange>,
    /// Header changes of the response, in order.
    pub response: Vec<HeaderChange>,
    /// The provider did not answer, and `failOpen` let the request pass.
    pub failed_open: bool,
}

/// One change of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Replaces every value.
    Set(http::HeaderName, http::HeaderValue),
    /// Adds a value.
    Append(http::HeaderName, http::HeaderValue),
    /// Takes every value away.
    Remove(http::HeaderName),
}

/// The providers' client. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ExtAuthz {}

impl ExtAuthz {
    /// How much of the body `provider` wants to see; none if nothing.
    pub fn wanted_body(&self, snapshot: &Snapshot, provider: &str) -> Option<WantedBody> {
        let _ = (snapshot, provider);
        None
    }

    /// Asks `provider`.
    pub async fn check(
        &self,
        snapshot: &Snapshot,
        provider: &str,
        request: CheckRequest<'_>,
    ) -> CheckAnswer {
        drop((snapshot, provider, request));
        std::future::ready(CheckAnswer::Failed(Box::new(LocalReply::denied(
            "ext_authz_error",
        ))))
        .await
    }
}
