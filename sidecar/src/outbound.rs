//! Requests of the application to the mesh: plain HTTP in, by Host or as to a proxy; verified mTLS out.

mod unrouted;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use dataplane::config::ForwardedPath;
use dataplane::headers::{
    FORWARDED_PROTO, RequestIdSource, TraceRole, Upgrades, XFCC, ensure_request_id, ensure_trace,
    set_forwarded_proto, strip_hop_by_hop,
};
use dataplane::route::{Answer, Origin, Routed};
use dataplane::telemetry::{Reporter, Security};
use dataplane::{LocalReply, Snapshot, UpstreamProtocol};
use http::{Request, Response, header};
use policies::host::split_port;
use policies::route::{HttpRoute, RequestView};
use tokio::net::TcpStream;

use crate::activity::InFlight;
use crate::answer::{self, AnswerBody};
use crate::exchange::Exchange;
use crate::http::{HttpServer, Speaks};
use crate::proxy::{Peer, Proxy, RequestBody};
use crate::tidy::SentPath;
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
    pub(crate) async fn answer(
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

        let named = request.headers().get(header::HOST).cloned();
        let named = named.as_ref().and_then(|host| host.to_str().ok());
        let host = lower_case(named.unwrap_or_default());
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
            let passing = self.unrouted(&snapshot, &host, &peer, request, exchange);
            return Box::pin(passing).await;
        };
        exchange.note(|record| record.route_name.clone_from(&route.name));
        let origin = Origin {
            began: exchange.started.into(),
            host: &host,
            port: view.port,
            scheme: "http",
            version: request.version(),
            sent_path: sent_path.as_ref().map(SentPath::as_str),
            remote: peer.remote,
            client: peer.remote.ip(),
            // The application beside the sidecar is the sidecar's own.
            principal: Some(self.proxy.id.principal()),
            claims: None,
            upgrades: Upgrades::Strip,
        };
        self.route(&snapshot, route, request, origin, exchange)
            .await
    }

    async fn route(
        &self,
        snapshot: &Arc<Snapshot>,
        route: &HttpRoute,
        mut request: Request<RequestBody>,
        mut origin: Origin<'_>,
        mut exchange: Box<Exchange>,
    ) -> Response<AnswerBody> {
        let upgrade = tunnel::wish(&mut request, UpstreamProtocol::Auto);
        if upgrade.is_some() {
            origin.upgrades = Upgrades::Keep;
        }
        strip_hop_by_hop(request.headers_mut(), origin.upgrades);
        request.headers_mut().remove(header::EXPECT);
        let proxy = &self.proxy;
        let routed = Routed {
            snapshot,
            route,
            request,
            origin,
        };
        let chosen = |cluster| {
            exchange.note(|record| {
                record.upstream_cluster = snapshot.cluster_name(cluster).cloned();
            });
        };
        let answered = proxy.router.answer(routed, chosen).await;
        if let Some(cluster) = answered.cluster {
            let endpoint = answered.outcome.endpoint;
            (exchange.seen.service, exchange.seen.destination) =
                proxy.destination(snapshot, cluster, endpoint);
        }
        exchange.outcome(answered.outcome);
        match answered.answer {
            Answer::Upstream(response) => tunnel::or_body(response, upgrade, exchange, &proxy.life),
            Answer::Route(response, details) => answer::ready(exchange, response, details),
            Answer::Reply(reply) => answer::local(exchange, &reply),
        }
    }
}

fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}
