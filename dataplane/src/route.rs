//! A routed request from its route to its answer: one way for the gateway and for a sidecar's outbound side.
//!
//! The order is Istio's, where the filters stand before the router: what is refused for its rate, what fails on purpose,
//! what other origins may do; then the route itself, which answers or forwards.

mod limits;
mod own;
mod upstream;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use policies::cluster::ClusterIndex;
use policies::route::{HttpRoute, RequestView, RouteAction, TokenClaims, WeightedClusters};
use tokio::time::Instant;

use crate::body::{Begun, RequestBody};
use crate::forward::{ForwardBody, Forwarder, Outcome, Way, deadline};
use crate::headers::Upgrades;
use crate::local_reply::LocalReply;
use crate::random;
use crate::rate_limit::RateLimiter;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamErrorKind;

/// Carries out what routes say; cheap to clone.
#[derive(Debug)]
pub struct Router<B> {
    /// What sends requests to clusters.
    pub forwarder: Forwarder<Begun<B>>,
    /// What says how many pass.
    pub limits: RateLimiter,
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
    /// The route's own response: a redirect, a direct response.
    Route(Response<Bytes>),
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
        }
    }
}

impl<B: RequestBody> Router<B> {
    /// A router that sends by `forwarder` what `limits` let pass.
    pub const fn new(forwarder: Forwarder<Begun<B>>, limits: RateLimiter) -> Self {
        Self { forwarder, limits }
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
        routed: Routed<'_, B>,
        chosen: impl FnMut(ClusterIndex) + Send,
    ) -> Answered<B> {
        let route = routed.route;
        match &route.action {
            RouteAction::Redirect(redirect) => Answered::by_route(own::redirect(redirect, &routed)),
            RouteAction::DirectResponse(direct) => {
                Answered::by_route(Ok(own::direct(direct, route)))
            }
            RouteAction::Forward(clusters) => self.forward(routed, clusters, chosen).await,
        }
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
        let normalization = snapshot.mesh.path_normalization;
        if let Err(reply) =
            upstream::change_request(&mut request, route, destination, &origin, normalization)
        {
            return Answered::reply(*reply);
        }
        let way = Way {
            deadline,
            ..Way::new(destination.cluster, &route.retry)
        };
        let sent = self.forwarder.forward(snapshot, way, request).await;
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
                upstream::change_response(
                    &mut response,
                    route,
                    destination,
                    sent.outcome.service_time,
                );
                Answer::Upstream(response)
            }
            Err(reply) => Answer::Reply(Box::new(reply)),
        };
        Answered {
            answer,
            cluster: Some(destination.cluster),
            outcome: sent.outcome,
            deadline,
        }
    }
}

impl<B: RequestBody> Answered<B> {
    fn by_route(answer: Result<Response<Bytes>, Box<LocalReply>>) -> Self {
        Self::with(answer.map_or_else(Answer::Reply, Answer::Route))
    }

    fn reply(reply: LocalReply) -> Self {
        Self::with(Answer::Reply(Box::new(reply)))
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
