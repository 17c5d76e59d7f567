//! Makes a request fit to be judged: one canonical path, nothing forged, everything we vouch for.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use authz::jwt::VerifiedToken;
use authz::path::normalize;
use dataplane::LocalReply;
use dataplane::config::ForwardedPath;
use dataplane::headers::{
    FORWARDED_FOR, RequestIdSource, TraceContext, TraceRole, Upgrades, XfccMode,
    append_forwarded_for, apply_xfcc, client_address, ensure_request_id, ensure_trace,
    set_external_address, set_forwarded_proto, strip_edge, strip_hop_by_hop, websocket_upgrade,
};
use dataplane::local_reply::is_grpc;
use dataplane::route::Origin;
use http::header::{EXPECT, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use policies::mesh::PathNormalization;
use policies::route::{RequestView, TokenClaims};
use tokio::time::Instant;

use crate::connection::{Connection, HttpVersion};
use crate::gateway::EdgeRules;
use crate::request_head::{BadRequest, RequestHead};
use crate::session_body::Preview;

/// A request that is judged, routed and forwarded exactly as it stands here.
#[derive(Debug)]
pub(crate) struct Tidied {
    /// The method.
    pub(crate) method: Method,
    /// The host, lower case, with the port if one was sent.
    pub(crate) host: String,
    /// The canonical path.
    pub(crate) path: String,
    /// The path as the client sent it, where that form is to go on and is another one.
    pub(crate) sent_path: Option<String>,
    /// The client's address, as far as proxies in front are believed.
    pub(crate) client: IpAddr,
    /// What follows the question mark.
    pub(crate) query: Option<String>,
    /// The headers, without those of the hop and without forged ones, with ours.
    pub(crate) headers: HeaderMap,
    /// The request is a WebSocket handshake.
    pub(crate) websocket: bool,
    /// The request is gRPC's.
    pub(crate) grpc: bool,
    /// The client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// Its verified token, once RequestAuthentication has looked at it.
    pub(crate) token: Option<Arc<VerifiedToken>>,
    /// What was read of the body already.
    pub(crate) preview: Preview,
    /// `x-request-id`.
    pub(crate) request_id: HeaderValue,
    /// The trace that the request belongs to.
    pub(crate) trace: TraceContext,
}

impl Tidied {
    /// Tidies the request that came over `connection`.
    pub(crate) fn new(
        head: RequestHead,
        connection: &Connection,
        normalization: PathNormalization,
        rules: EdgeRules,
    ) -> Result<Self, BadRequest> {
        let RequestHead {
            method,
            version,
            host,
            raw_path,
            query,
            mut headers,
            ..
        } = head;
        let canonical = normalize(&raw_path, normalization).map_err(|_| BadRequest::Target)?;
        let (path, sent_path) = match canonical {
            Cow::Borrowed(path) if path.len() == raw_path.len() => (raw_path, None),
            path => match (path.into_owned(), rules.path) {
                (path, ForwardedPath::Canonical) => (path, None),
                (path, ForwardedPath::Original) => (path, Some(raw_path)),
            },
        };
        let websocket = version == Version::HTTP_11 && websocket_upgrade(&headers);
        let upgrades = if websocket {
            Upgrades::Keep
        } else {
            Upgrades::Strip
        };
        strip_hop_by_hop(&mut headers, upgrades);
        strip_edge(&mut headers);
        apply_xfcc(&mut headers, XfccMode::SanitizeSet, None, None);
        headers.remove(EXPECT);
        let peer = connection.peer.ip();
        let client = client_address(&headers, peer, rules.trusted_proxies);
        append_forwarded_for(&mut headers, peer);
        set_external_address(&mut headers, client);
        set_forwarded_proto(&mut headers, connection.scheme());
        let request_id = ensure_request_id(&mut headers, RequestIdSource::Fresh);
        let trace = ensure_trace(&mut headers, TraceRole::Forward);
        headers.insert(
            HOST,
            HeaderValue::from_str(&host).map_err(|_| BadRequest::Host)?,
        );
        Ok(Self {
            grpc: is_grpc(&headers),
            expects_continue: head.expects_continue,
            token: None,
            preview: Preview::default(),
            method,
            host,
            path,
            sent_path,
            client,
            query,
            headers,
            websocket,
            request_id,
            trace,
        })
    }

    /// What routing looks at.
    pub(crate) fn view<'a>(&'a self, connection: &Connection) -> RequestView<'a> {
        RequestView {
            host: &self.host,
            port: connection.port,
            path: &self.path,
            query: self.query.as_deref(),
            method: self.method.as_str(),
            scheme: connection.scheme(),
            headers: &self.headers,
            claims: self.claims(),
        }
    }

    /// The request as it goes to its route; only what the head does not say is left here.
    pub(crate) fn take_request<B>(&mut self, body: B) -> Result<Request<B>, LocalReply> {
        let target = PathAndQuery::try_from(self.target())
            .map_err(|_| LocalReply::bad_request("the request target is not a valid path"))?;
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from(target);
        *request.headers_mut() = std::mem::take(&mut self.headers);
        Ok(request)
    }

    /// What its head does not say.
    pub(crate) fn origin<'a>(&'a self, connection: &Connection, began: Instant) -> Origin<'a> {
        Origin {
            began,
            host: &self.host,
            port: connection.port,
            scheme: connection.scheme(),
            version: match connection.version {
                HttpVersion::One => Version::HTTP_11,
                HttpVersion::Two => Version::HTTP_2,
            },
            sent_path: self.sent_path.as_deref(),
            remote: connection.peer,
            client: self.client,
            principal: None,
            claims: self.claims(),
            upgrades: if self.websocket {
                Upgrades::Keep
            } else {
                Upgrades::Strip
            },
        }
    }

    fn claims(&self) -> Option<&dyn TokenClaims> {
        let token = self.token.as_deref()?;
        Some(&token.claims)
    }

    /// Path and query, as they are logged.
    pub(crate) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// `x-forwarded-for`, as it is forwarded and logged.
    pub(crate) fn forwarded_for(&self) -> Option<HeaderValue> {
        self.headers.get(&FORWARDED_FOR).cloned()
    }

    /// The trace's id, as it is logged.
    pub(crate) fn trace_id(&self) -> Arc<str> {
        self.trace.trace_id_text().into()
    }
}
