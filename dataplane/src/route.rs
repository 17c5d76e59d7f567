//! A routed request from its route to its answer: one way for the gateway and for a sidecar's outbound side.
//!
//! The order is Istio's, where the filters stand before the router: what is refused for its rate, what fails on purpose,
//! what other origins may do; then the route itself, which answers or forwards.

mod fallback;
mod fault;
mod limits;
mod mirror;
mod own;
mod remembered;
mod upstream;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use policies::cluster::ClusterIndex;
use policies::resilience::{KeyHash, KeySource};
use policies::route::{
    Cors, CorsVerdict, HttpRoute, RequestView, RouteAction, TokenClaims, WeightedCluster,
    WeightedClusters,
};
use prometheus::Registry;
use tokio::time::Instant;

use self::fallback::{Fallbacks, Fallen};
use self::mirror::Mirrors;
use self::remembered::Remembered;
use crate::body::{Begun, RequestBody};
use crate::forward::{ForwardBody, Forwarder, Outcome, Way, deadline};
use crate::headers::Upgrades;
use crate::local_reply::LocalReply;
use crate::random;
use crate::rate_limit::RateLimiter;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::upstream::UpstreamErrorKind;

/// Carries out what routes say; cheap to clone.
#[derive(Debug)]
pub struct Router<B> {
    /// What sends requests to clusters.
    pub forwarder: Forwarder<Begun<B>>,
    /// What says how many pass.
    pub limits: RateLimiter,
    mirrors: Mirrors,
    fallbacks: Fallbacks,
}

/// A request with its route.
#[derive(Debug)]
pub struct Routed<'a, B> {
    /// The generation that admitted and routed it.
    pub snapshot: &'a Arc<Snapshot>,
    /// The route.
    pub route: &'a HttpRoute,
    /// The request as it was admitted: a canonical path in origin form, one Host, headers of this hop removed (but for
    /// an upgrade that travels on).
    pub request: Request<Begun<B>>,
    /// What its head does not say.
    pub origin: Origin<'a>,
}

/// Where a request comes from.
#[derive(Clone)]
pub struct Origin<'a> {
    /// When its head was there; the route's timeout counts from here.
    pub began: Instant,
    /// The host as it was routed: in lower case, with the port if one was sent.
    pub host: &'a str,
    /// The logical port that it was routed by.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The HTTP version that the client speaks.
    pub version: Version,
    /// The path as it was sent, where that form is to go on and is another one.
    pub sent_path: Option<&'a str>,
    /// The other end of the connection.
    pub remote: SocketAddr,
    /// The client's address, as far as proxies in front are believed.
    pub client: IpAddr,
    /// The caller's verified identity without `spiffe://`; a gateway's clients are strangers.
    pub principal: Option<&'a str>,
    /// What its verified token says.
    pub claims: Option<&'a dyn TokenClaims>,
    /// Whether the request is an upgrade that travels on.
    pub upgrades: Upgrades,
}

/// What a request is answered with, and how that came about.
#[derive(Debug)]
pub struct Answered<B: RequestBody> {
    /// The answer.
    pub answer: Answer<B>,
    /// The cluster that the request went to.
    pub cluster: Option<ClusterIndex>,
    /// What became of it there.
    pub outcome: Outcome,
    /// When its time is over; the answer's body breaks off then.
    pub deadline: Option<Instant>,
}

/// The answer to a routed request.
#[derive(Debug)]
pub enum Answer<B: RequestBody> {
    /// The upstream's response, changed as the route wants it, without headers of its own hop (but for the upgrade that
    /// was asked for).
    Upstream(Response<ForwardBody<Begun<B>>>),
    /// The route's own response (a redirect, a direct response, a preflight), and what the log says about it.
    Route(Response<Bytes>, &'static str),
    /// A reply in place of what the route promised.
    Reply(Box<LocalReply>),
}

impl fmt::Debug for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("remote", &self.remote)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl<'a> Origin<'a> {
    /// What routing looks at.
    pub fn view<'v, B>(&'v self, request: &'v Request<B>) -> RequestView<'v>
    where
        'a: 'v,
    {
        RequestView {
            host: self.host,
            port: self.port,
            path: request.uri().path(),
            query: request.uri().query(),
            method: request.method().as_str(),
            scheme: self.scheme,
            headers: request.headers(),
            claims: self.claims,
        }
    }
}

impl<B> Clone for Router<B> {
    fn clone(&self) -> Self {
        Self {
            forwarder: self.forwarder.clone(),
            limits: self.limits.clone(),
            mirrors: self.mirrors.clone(),
            fallbacks: self.fallbacks.clone(),
        }
    }
}

impl<B: RequestBody> Router<B> {
    /// A router that sends by `forwarder` what `limits` let pass.
    ///
    /// # Errors
    /// When a metric cannot be made.
    pub fn new(
        forwarder: Forwarder<Begun<B>>,
        limits: RateLimiter,
    ) -> Result<Self, prometheus::Error> {
        Ok(Self {
            mirrors: Mirrors::beside(&forwarder)?,
            fallbacks: Fallbacks::new()?,
            forwarder,
            limits,
        })
    }

    /// Shows its counters in `registry`.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.mirrors.register(registry)?;
        self.fallbacks.register(registry)
    }

    /// Answers a request as its route wants it. `chosen` is told the cluster before anything is sent there.
    ///
    /// Dropping the future, or the body of the answer, cancels.
    // Declared `Send` for the same reason as `Upstreams::send`.
    pub fn answer<'r>(
        &'r self,
        routed: Routed<'r, B>,
        chosen: impl FnMut(ClusterIndex) + Send + 'r,
    ) -> impl Future<Output = Answered<B>> + Send + 'r {
        self.carry_out(routed, chosen)
    }

    async fn carry_out(
        &self,
        routed: Routed<'_, B>,
        chosen: impl FnMut(ClusterIndex) + Send,
    ) -> Answered<B> {
        let told = match self.count(&routed).await {
            Ok(told) => told,
            Err(reply) => return Answered::reply(*reply),
        };
        let mut answered = self.act(routed, chosen).await;
        answered.tell(told);
        answered
    }

    async fn act(
        &self,
        mut routed: Routed<'_, B>,
        chosen: impl FnMut(ClusterIndex) + Send,
    ) -> Answered<B> {
        let route = routed.route;
        let mut flags = ResponseFlags::NONE;
        if let Some(fault) = &route.fault {
            let suffered = fault::suffer(fault, random::number).await;
            flags = suffered.flags;
            if let Some(reply) = suffered.abort {
                return Answered::reply(reply).flagged(flags);
            }
            // The route's time begins afterwards.
            routed.origin.began += suffered.delay;
        }
        let request = &routed.request;
        let verdict = route
            .cors
            .as_deref()
            .map(|cors| (cors, cors.judge(request.method(), request.headers())));
        let shared = match verdict {
            Some((_, CorsVerdict::Preflight(permission))) => {
                let answer = Answer::Route(own::preflight(permission), "cors_response");
                return Answered::with(answer).flagged(flags);
            }
            Some((cors, CorsVerdict::Allowed(origin))) => Some((cors, origin)),
            Some((_, CorsVerdict::Untouched)) | None => None,
        };
        let answered = match &route.action {
            RouteAction::Redirect(redirect) => Answered::by_route(own::redirect(redirect, &routed)),
            RouteAction::DirectResponse(direct) => {
                Answered::by_route(Ok(own::direct(direct, &routed)))
            }
            RouteAction::Forward(clusters) => self.forward(routed, clusters, chosen).await,
        };
        let mut answered = answered.flagged(flags);
        if let Some((cors, origin)) = shared {
            answered.answer.share(cors, &origin);
        }
        answered
    }

    async fn forward(
        &self,
        routed: Routed<'_, B>,
        clusters: &WeightedClusters,
        mut chosen: impl FnMut(ClusterIndex) + Send,
    ) -> Answered<B> {
        let Routed {
            snapshot,
            route,
            mut request,
            origin,
        } = routed;
        let Some(destination) = clusters.choose(random::number()) else {
            return Answered::reply(LocalReply::no_cluster());
        };
        chosen(destination.cluster);
        // What the caller says, not what the route makes of it.
        let deadline = deadline(
            route.timeout,
            route.deadline,
            request.headers(),
            origin.began,
        );
        let key = Self::key(snapshot, destination, &request, &origin);
        let head = Remembered::of(&request);
        let facts = head.facts(&origin);
        let normalization = snapshot.mesh.path_normalization;
        if let Err(reply) = upstream::change_request(
            &mut request,
            route,
            destination,
            &origin,
            &facts,
            normalization,
        ) {
            return Answered::reply(*reply);
        }
        self.mirror(snapshot, route, &origin, &mut request);
        let changes = [&route.response_headers, &destination.response_headers];
        let sent_headers = if changes.iter().any(|ops| ops.has_formats()) {
            request.headers().clone()
        } else {
            HeaderMap::new()
        };
        let ready = fallback::ready(snapshot, destination.cluster, &origin, &request);
        let way = Way {
            deadline,
            hash: key.hash,
            ..Way::new(destination.cluster, &route.retry)
        };
        // Large: it holds a request in all its forms.
        let sent = Box::pin(self.forwarder.forward(snapshot, way, request)).await;
        let falling = self.fall_back(snapshot, ready, deadline, &mut chosen, sent);
        let (sent, elsewhere) = match Box::pin(falling).await {
            Fallen::No(sent) => (sent, None),
            Fallen::Elsewhere(sent, cluster) => (sent, Some(cluster)),
            Fallen::Written(mut response, outcome) => {
                upstream::change_response(&mut response, changes, &sent_headers, &facts, None);
                fallback::mark(&mut response);
                return Answered {
                    answer: Answer::Route(response, fallback::DETAILS),
                    cluster: Some(destination.cluster),
                    outcome,
                    deadline,
                };
            }
        };
        let unasked = |response: &Response<_>| {
            response.status() == StatusCode::SWITCHING_PROTOCOLS
                && origin.upgrades == Upgrades::Strip
        };
        let answer = match sent.result {
            // What follows on that connection is no HTTP.
            Ok(response) if unasked(&response) => {
                Answer::Reply(Box::new(LocalReply::upstream(UpstreamErrorKind::Protocol)))
            }
            Ok(mut response) => {
                let took = sent.outcome.service_time;
                // The key chose an endpoint of the destination that failed.
                if let Some(cookie) = key.set_cookie.filter(|_| elsewhere.is_none()) {
                    set_cookie(response.headers_mut(), &cookie);
                }
                upstream::change_response(&mut response, changes, &sent_headers, &facts, took);
                if elsewhere.is_some() {
                    fallback::mark(&mut response);
                }
                Answer::Upstream(response)
            }
            Err(reply) => Answer::Reply(Box::new(reply)),
        };
        Answered {
            answer,
            cluster: Some(elsewhere.unwrap_or(destination.cluster)),
            outcome: sent.outcome,
            deadline,
        }
    }

    /// The hash of the request's key, where the destination balances by one.
    fn key(
        snapshot: &Snapshot,
        destination: &WeightedCluster,
        request: &Request<Begun<B>>,
        origin: &Origin<'_>,
    ) -> KeyHash {
        let live = snapshot.live(destination.cluster);
        let Some(key) = live.and_then(|live| live.hash_key()) else {
            return KeyHash::default();
        };
        let source = KeySource {
            headers: request.headers(),
            query: request.uri().query(),
            client: Some(origin.client),
        };
        key.hash(&source, random::number())
    }

    /// Sends the copies that the route wants. The request goes on as it is.
    fn mirror(
        &self,
        snapshot: &Arc<Snapshot>,
        route: &HttpRoute,
        origin: &Origin<'_>,
        request: &mut Request<Begun<B>>,
    ) {
        // A tunnel has no copy.
        if route.mirrors.is_empty() || origin.upgrades == Upgrades::Keep {
            return;
        }
        for mirror in Mirrors::drawn(&route.mirrors) {
            let mut copy = Request::new(request.body_mut().copy());
            *copy.method_mut() = request.method().clone();
            *copy.uri_mut() = request.uri().clone();
            copy.headers_mut().clone_from(request.headers());
            self.mirrors.send(snapshot, mirror, copy, route.timeout);
        }
    }
}

/// By which a client keeps the key that was made for it.
fn set_cookie(headers: &mut HeaderMap, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.append(SET_COOKIE, cookie);
    }
}

impl<B: RequestBody> Answer<B> {
    /// Tells the browser that a page of `origin` may read it.
    fn share(&mut self, cors: &Cors, origin: &HeaderValue) {
        match self {
            Self::Upstream(response) => cors.mark(origin, response.headers_mut()),
            Self::Route(response, _) => cors.mark(origin, response.headers_mut()),
            Self::Reply(reply) => {
                let mut headers = HeaderMap::new();
                cors.mark(origin, &mut headers);
                let named = headers.into_iter();
                reply
                    .headers
                    .extend(named.filter_map(|(name, value)| Some((name?, value))));
            }
        }
    }
}

impl<B: RequestBody> Answered<B> {
    fn by_route(answer: Result<Response<Bytes>, Box<LocalReply>>) -> Self {
        Self::with(match answer {
            Ok(response) => Answer::Route(response, "direct_response"),
            Err(reply) => Answer::Reply(reply),
        })
    }

    fn reply(reply: LocalReply) -> Self {
        Self::with(Answer::Reply(Box::new(reply)))
    }

    fn flagged(mut self, flags: ResponseFlags) -> Self {
        self.outcome.flags |= flags;
        self
    }

    fn with(answer: Answer<B>) -> Self {
        Self {
            answer,
            cluster: None,
            outcome: Outcome::default(),
            deadline: None,
        }
    }
}

#[cfg(test)]
mod tests;
