//! Upgraded connections (WebSocket): bytes both ways until either side ends.

use dataplane::body::BodyEnd;
use dataplane::headers::websocket_upgrade;
use dataplane::telemetry::ResponseFlags;
use dataplane::{ForwardBody, LocalReply, UpstreamErrorKind, UpstreamProtocol};
use http::{Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use runtime::lifecycle::{ConnectionGuard, Lifecycle};

use crate::answer::{self, AnswerBody};
use crate::exchange::Exchange;
use crate::proxy::RequestBody;

/// The client's half of an upgrade, when the request is a WebSocket handshake that can travel on. Every other upgrade
/// (`h2c` among them) stays here: its header is removed with the other hop-by-hop headers.
pub(crate) fn wish(
    request: &mut Request<RequestBody>,
    onward: UpstreamProtocol,
) -> Option<OnUpgrade> {
    let wished = request.version() == Version::HTTP_11
        && onward != UpstreamProtocol::Http2
        && websocket_upgrade(request.headers());
    wished.then(|| hyper::upgrade::on(request))
}

/// The answer to a forwarded request: the tunnel when the upstream switched protocols as wished, else its body.
pub(crate) fn or_body(
    mut response: Response<ForwardBody<RequestBody>>,
    wish: Option<OnUpgrade>,
    mut exchange: Box<Exchange>,
    life: &Lifecycle,
) -> Response<AnswerBody> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer::forwarded(exchange, response);
    }
    let Some(client) = wish else {
        // Nobody asked for it; what follows on that connection is no HTTP.
        return answer::local(exchange, &LocalReply::upstream(UpstreamErrorKind::Protocol));
    };
    exchange.answered(response.status().as_u16(), None);
    let upstream = hyper::upgrade::on(&mut response);
    join(client, upstream, exchange, life.enter());
    answer::switching(response)
}

/// Joins the two upgraded connections in a task of its own. The drain waits for it up to its deadline.
fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
    mut exchange: Box<Exchange>,
    open: ConnectionGuard,
) {
    tokio::spawn(async move {
        let flags = match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => {
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
                    Ok((received, sent)) => {
                        exchange.seen.request_bytes = received;
                        exchange.seen.response_bytes = sent;
                    }
                    Err(error) => tracing::debug!(%error, "tunnel ended"),
                }
                ResponseFlags::NONE
            }
            Err(error) => {
                tracing::debug!(%error, "the upgrade did not come about");
                ResponseFlags::UPSTREAM_PROTOCOL_ERROR
            }
        };
        exchange.ended(BodyEnd::Complete, flags);
        drop((exchange, open));
    });
}
