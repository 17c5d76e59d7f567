//! Sends a routed request upstream and its response back.

use std::sync::Arc;

use dataplane::access::change;
use dataplane::route::{Answer, Answered, Routed};
use dataplane::sizes::SizeLimits;
use dataplane::{ForwardBody, Snapshot};
use http::header::SERVER;
use http::{Response, StatusCode};
use http_body::Body as _;
use hyper_util::rt::TokioIo;
use policies::route::HttpRoute;
use tokio::time::Instant;

use crate::answer::{self, SERVER_NAME};
use crate::exchange::{Exchange, Stop};
use crate::gateway::{Gateway, RequestBody};
use crate::relay::relay;
use crate::response::{After, write_head};
use crate::session_body::{Begins, Upload};
use crate::tidy::Tidied;
use crate::tunnel::tunnel;

/// Lets the route answer the request, and carries the answer to the client.
pub(crate) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange<'_>,
    snapshot: &Arc<Snapshot>,
    route: &HttpRoute,
    mut tidied: Tidied,
) -> Result<(), Stop> {
    let begins = if tidied.expects_continue {
        Begins::WhenTold
    } else {
        Begins::Unasked
    };
    let preview = std::mem::take(&mut tidied.preview);
    let (mut upload, mut body) = Upload::of(exchange.session, preview, begins);
    let sizes = gateway.rules.sizes;
    let too_large = body.cap(sizes.request_bytes);
    let request = tidied.take_request(body)?;
    let began = Instant::from_std(exchange.record.started());
    let labels = gateway.labels.of(snapshot, &gateway.metrics);
    let routed = Routed {
        snapshot,
        route,
        request,
        origin: tidied.origin(exchange.connection, began),
    };
    let record = &mut *exchange.record;
    let answered = {
        let chosen = |cluster| {
            record.cluster(labels.service(cluster), || {
                snapshot
                    .cluster_name(cluster)
                    .map(Arc::clone)
                    .unwrap_or_default()
            });
        };
        let answering = gateway.router.answer(routed, chosen);
        tokio::pin!(answering);
        loop {
            tokio::select! {
                biased;
                answered = &mut answering => break answered,
                step = upload.step(exchange.session) => step?,
            }
        }
    };
    let Answered {
        answer,
        cluster,
        outcome,
        deadline,
    } = answered;
    let party = cluster
        .zip(outcome.endpoint)
        .map(|(cluster, at)| labels.endpoint(cluster, at))
        .unwrap_or_default();
    exchange.record.forwarded(party, &outcome);
    let mut response = match answer {
        Answer::Upstream(response) => response,
        Answer::Route(response, details) => {
            return answer::by_route(exchange, response, details).await;
        }
        Answer::Reply(_) if too_large.is_so() => {
            return Err(SizeLimits::request_too_large().into());
        }
        Answer::Reply(reply) => return Err(Stop::Reply(reply)),
    };
    sizes.check_response(&response)?;
    exchange.record.upstream_answered(response.headers());
    change(response.headers_mut(), &exchange.changes);
    response.headers_mut().insert(SERVER, SERVER_NAME.clone());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch_protocols(exchange, response).await;
    }
    let respond = respond(exchange, response, &mut upload, sizes.response_bytes);
    match deadline {
        // A client that reads slowly must not stretch the deadline either.
        Some(deadline) => tokio::time::timeout_at(deadline, respond)
            .await
            .unwrap_or(Err(Stop::Deadline)),
        None => respond.await,
    }
}

async fn respond(
    exchange: &mut Exchange<'_>,
    response: Response<ForwardBody<RequestBody>>,
    upload: &mut Upload,
    longest: Option<u64>,
) -> Result<(), Stop> {
    let (parts, body) = response.into_parts();
    let after = if body.is_end_stream() {
        After::End
    } else {
        After::Body
    };
    write_head(exchange.session, parts, after, exchange.draining).await?;
    if after == After::Body {
        let trailer = relay(exchange.session, body, upload, longest).await?;
        exchange.record.grpc_status(trailer.grpc_status.as_ref());
    }
    Ok(())
}

/// Hands the connection over to the WebSocket.
async fn switch_protocols(
    exchange: &mut Exchange<'_>,
    mut response: Response<ForwardBody<RequestBody>>,
) -> Result<(), Stop> {
    let upgrade = hyper::upgrade::on(&mut response);
    let (parts, body) = response.into_parts();
    write_head(exchange.session, parts, After::Body, exchange.draining).await?;
    let upstream = upgrade
        .await
        .map_err(|error| Stop::Upstream(error.into()))?;
    drop(body);
    tunnel(exchange.session, TokioIo::new(upstream)).await?;
    Ok(())
}
