//! Requests of the application to the mesh: plain HTTP in, by Host or as to a proxy; verified mTLS out.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use authz::path::normalize_rewritten;
use bytes::Bytes;
use dataplane::config::ForwardedPath;
use dataplane::headers::{
    FORWARDED_PROTO, RequestIdSource, TraceRole, Upgrades, XFCC, ensure_request_id, ensure_trace,
    set_forwarded_proto, strip_hop_by_hop,
};
use dataplane::telemetry::{Reporter, ResponseFlags, Security};
use dataplane::{LocalReply, Snapshot, UpstreamProtocol, random};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use policies::host::split_port;
use policies::mesh::PathNormalization;
use policies::route::{
    HeaderOps, HttpRoute, PathRewrite, RequestView, RouteAction, WeightedClusters,
};
use runtime::escape;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::activity::InFlight;
use crate::answer::{self, AnswerBody};
use crate::exchange::Exchange;
use crate::http::{HttpServer, Speaks};
use crate::proxy::{Peer, Proxy, RequestBody};
use crate::{tidy, tunnel};

/// The listener that the application sends its requests to.
pub(crate) struct Outbound {
    proxy: Arc<Proxy>,
    http: HttpServer,
}

impl Outbound {
    pub(crate) const fn new(proxy: Arc<Proxy>, http: HttpServer) -> Self {
        Self { proxy, http }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        let Ok(local) = tcp.local_addr() else { return };
        let peer = Arc::new(Peer {
            remote,
            local,
            proved: None,
            sni: None,
            party: self.proxy.party,
            is_gateway: false,
        });
        let door = Arc::clone(&self);
        let answer = move |request, in_flight| {
            Arc::clone(&door).answer(Arc::clone(&peer), request, in_flight)
        };
        self.http.serve(tcp, Speaks::Either, answer).await;
    }

    /// One request: one snapshot, one form, one route.
    async fn answer(
        self: Arc<Self>,
        peer: Arc<Peer>,
        mut request: Request<RequestBody>,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let proxy = &self.proxy;
        let account = Exchange::begin(proxy, Reporter::Source, &peer, &request, in_flight);
        let mut exchange = Box::new(account);
        exchange.seen.security = Security::Unknown;
        let Some(snapshot) = proxy.store.snapshot() else {
            return answer::local(exchange, &LocalReply::not_ready());
        };
        let sent_path = match tidy::tidy(&mut request, snapshot.mesh.path_normalization) {
            Ok(sent_path) => sent_path.filter(|_| proxy.path == ForwardedPath::Original),
            Err(reply) => return answer::local(exchange, &reply),
        };
        exchange.tidied(&request, snapshot.generation);
        let headers = request.headers_mut();
        headers.remove(&XFCC);
        if !headers.contains_key(&FORWARDED_PROTO) {
            set_forwarded_proto(headers, "http");
        }
        let trace = ensure_trace(headers, TraceRole::Forward);
        ensure_request_id(headers, RequestIdSource::Caller);
        exchange.known_as(&request, trace);

        let host = lower_case(tidy::host(&request));
        let view = RequestView {
            host: &host,
            port: split_port(&host).1.unwrap_or(80),
            path: request.uri().path(),
            query: request.uri().query(),
            method: request.method().as_str(),
            scheme: "http",
            headers: request.headers(),
            claims: None,
        };
        let Some(route) = snapshot.routes.find(&view) else {
            return answer::local(exchange, &undeclared(&host));
        };
        exchange.note(|record| record.route_name.clone_from(&route.name));
        match &route.action {
            RouteAction::Redirect(redirect) => {
                let location = redirect.location(&view);
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = redirect.status;
                if let Ok(location) = HeaderValue::try_from(location) {
                    response.headers_mut().insert(header::LOCATION, location);
                }
                answer::ready(exchange, response)
            }
            RouteAction::DirectResponse(direct) => {
                let mut response = Response::new(Bytes::copy_from_slice(&direct.body));
                *response.status_mut() = direct.status;
                let text = HeaderValue::from_static("text/plain");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                answer::ready(exchange, response)
            }
            RouteAction::Forward(clusters) => {
                let rewrites = route.rewrite.as_ref().is_some_and(|to| to.path.is_some());
                if let Some(sent) = sent_path.filter(|_| !rewrites)
                    && let Err(reply) = sent.restore(&mut request)
                {
                    return answer::local(exchange, &reply);
                }
                self.forward(&snapshot, route, clusters, request, exchange)
                    .await
            }
        }
    }

    async fn forward(
        &self,
        snapshot: &Snapshot,
        route: &HttpRoute,
        clusters: &WeightedClusters,
        mut request: Request<RequestBody>,
        mut exchange: Box<Exchange>,
    ) -> Response<AnswerBody> {
        let deadline = route.timeout.map(|limit| Instant::now() + limit);
        let Some(chosen) = clusters.choose(random::number()) else {
            return answer::local(exchange, &LocalReply::no_cluster());
        };
        if let Err(reply) = rewrite(
            route,
            &chosen.request_headers,
            snapshot.mesh.path_normalization,
            &mut request,
        ) {
            return answer::local(exchange, &reply);
        }
        exchange.note(|record| {
            record.upstream_cluster = snapshot.cluster_name(chosen.cluster).cloned();
        });
        let upgrade = tunnel::wish(&mut request, UpstreamProtocol::Auto);
        let upgrades = if upgrade.is_some() {
            Upgrades::Keep
        } else {
            Upgrades::Strip
        };
        strip_hop_by_hop(request.headers_mut(), upgrades);
        request.headers_mut().remove(header::EXPECT);
        let proxy = &self.proxy;
        let forwarder = &proxy.forwarder;
        let sent = forwarder
            .forward(snapshot, chosen.cluster, request, deadline)
            .await;
        let endpoint = sent.outcome.endpoint;
        (exchange.seen.service, exchange.seen.destination) =
            proxy.destination(snapshot, chosen.cluster, endpoint);
        exchange.outcome(sent.outcome);
        match sent.result {
            Ok(mut response) => {
                route.response_headers.apply(response.headers_mut());
                chosen.response_headers.apply(response.headers_mut());
                tunnel::or_body(response, upgrade, exchange, &proxy.life)
            }
            Err(reply) => answer::local(exchange, &reply),
        }
    }
}

/// The route's changes to the request, then the destination's.
fn rewrite(
    route: &HttpRoute,
    of_destination: &HeaderOps,
    normalization: PathNormalization,
    request: &mut Request<RequestBody>,
) -> Result<(), Box<LocalReply>> {
    let mut authority = None;
    if let Some(rewrite) = &route.rewrite {
        authority = rewrite.authority.as_ref();
        if let Some(change) = &rewrite.path {
            set_path(change, normalization, request)?;
        }
    }
    for ops in [&route.request_headers, of_destination] {
        ops.apply(request.headers_mut());
        authority = ops.authority.as_ref().or(authority);
    }
    if let Some(authority) = authority {
        request
            .headers_mut()
            .insert(header::HOST, authority.clone());
    }
    Ok(())
}

fn set_path(
    change: &PathRewrite,
    normalization: PathNormalization,
    request: &mut Request<RequestBody>,
) -> Result<(), Box<LocalReply>> {
    let mut target = normalize_rewritten(change.apply(request.uri().path()), normalization)
        .map_err(|_| Box::new(LocalReply::bad_request("the rewritten path is malformed")))?;
    if let Some(query) = request.uri().query() {
        target.push('?');
        target.push_str(query);
    }
    tidy::set_target(request, target)
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// 502: the mesh knows declared services only (registry only); nothing goes anywhere else through this port.
fn undeclared(host: &str) -> LocalReply {
    let host = escape::escape(host, 256);
    LocalReply {
        body: format!("no service `{host}` is declared").into(),
        ..LocalReply::new(
            StatusCode::BAD_GATEWAY,
            "",
            ResponseFlags::NO_ROUTE_FOUND,
            "service_not_declared",
        )
    }
}
