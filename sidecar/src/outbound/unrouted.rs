//! Requests to hosts without a route: refused, or passed on, as `outboundTrafficPolicy` says.

use dataplane::headers::{Upgrades, strip_hop_by_hop};
use dataplane::passthrough::{BLACK_HOLE, PASSTHROUGH, Stranger};
use dataplane::telemetry::ResponseFlags;
use dataplane::{LocalReply, Snapshot, UpstreamProtocol};
use http::{Request, Response, StatusCode, header};
use policies::host::split_port;
use policies::route::Unrouted;
use runtime::escape;

use super::Outbound;
use crate::answer::{self, AnswerBody};
use crate::exchange::Exchange;
use crate::proxy::{Peer, RequestBody};
use crate::tunnel;

impl Outbound {
    /// Answers a request that no route is for.
    pub(super) async fn unrouted(
        &self,
        snapshot: &Snapshot,
        host: &str,
        peer: &Peer,
        request: Request<RequestBody>,
        mut exchange: Box<Exchange>,
    ) -> Response<AnswerBody> {
        let unrouted = snapshot.routes.unrouted(host);
        let shown = escape::escape(host, 256);
        let (body, details) = match unrouted {
            Unrouted::Passed => return self.pass(host, peer, request, exchange).await,
            Unrouted::Refused => (
                format!("no service `{shown}` is declared"),
                "service_not_declared",
            ),
            Unrouted::Hidden(hidden) => (
                format!(
                    "the service `{}` is not visible to this workload ({})",
                    hidden.service, hidden.by
                ),
                "service_not_visible",
            ),
        };
        exchange.note(|record| record.upstream_cluster = Some(BLACK_HOLE.into()));
        let reply = LocalReply {
            body: body.into(),
            ..LocalReply::new(
                StatusCode::BAD_GATEWAY,
                "",
                ResponseFlags::NO_ROUTE_FOUND,
                details,
            )
        };
        answer::local(exchange, &reply)
    }

    /// Sends a request to a host that no document declares, found by DNS, in plaintext.
    async fn pass(
        &self,
        host: &str,
        peer: &Peer,
        mut request: Request<RequestBody>,
        mut exchange: Box<Exchange>,
    ) -> Response<AnswerBody> {
        exchange.note(|record| {
            record.upstream_cluster = Some(PASSTHROUGH.into());
            record.route_name = Some("allow_any".into());
        });
        let upgrade = tunnel::wish(&mut request, UpstreamProtocol::Auto);
        let upgrades = if upgrade.is_some() {
            Upgrades::Keep
        } else {
            Upgrades::Strip
        };
        strip_hop_by_hop(request.headers_mut(), upgrades);
        request.headers_mut().remove(header::EXPECT);
        let (name, port) = split_port(host);
        let to = Stranger {
            host: name,
            port: port.unwrap_or(80),
            own: peer.local,
        };
        let sent = self.proxy.forwarder.pass(to, request, None).await;
        exchange.outcome(sent.outcome);
        match sent.result {
            Ok(response) => tunnel::or_body(response, upgrade, exchange, &self.proxy.life),
            Err(reply) => answer::local(exchange, &reply),
        }
    }
}
