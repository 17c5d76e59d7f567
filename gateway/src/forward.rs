//! Sends a routed request upstream and its response back.

use std::sync::Arc;

use authz::path::normalize_rewritten;
use dataplane::access::change;
use dataplane::headers::{Upgrades, strip_hop_by_hop};
use dataplane::{ForwardBody, LocalReply, Snapshot, UpstreamErrorKind, random};
use http::header::{HOST, SERVER};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper_util::rt::TokioIo;
use pingora::protocols::http::ServerSession;
use policies::mesh::PathNormalization;
use policies::route::{HttpRoute, WeightedCluster, WeightedClusters};
use tokio::time::Instant;

use crate::answer::SERVER_NAME;
use crate::exchange::{Exchange, Stop};
use crate::gateway::{Gateway, RequestBody};
use crate::relay::relay;
use crate::response::{After, write_head};
use crate::session_body::Upload;
use crate::tidy::Tidied;
use crate::tunnel::tunnel;

/// How long the application took, in milliseconds; Envoy's name for it.
static SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

/// Forwards the request to one of `clusters`, and the response to the client.
pub(crate) async fn forward(
    gateway: &Gateway,
    exchange: &mut Exchange<'_>,
    snapshot: &Snapshot,
    route: &HttpRoute,
    clusters: &WeightedClusters,
    mut request: Tidied,
) -> Result<(), Stop> {
    let chosen = clusters
        .choose(random::number())
        .ok_or_else(LocalReply::no_cluster)?;
    let labels = gateway.labels.of(snapshot, &gateway.metrics);
    exchange.record.cluster(labels.service(chosen.cluster), || {
        snapshot
            .cluster_name(chosen.cluster)
            .map(Arc::clone)
            .unwrap_or_default()
    });
    let deadline = route
        .timeout
        .map(|timeout| Instant::from_std(exchange.record.started()) + timeout);
    let websocket = request.websocket;
    let (mut upload, body) = begin_upload(exchange, &mut request).await?;
    let normalization = snapshot.mesh.path_normalization;
    let request = upstream_request(route, chosen, request, body, normalization)?;

    let forwarded = {
        let sending = gateway
            .forwarder
            .forward(snapshot, chosen.cluster, request, deadline);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                forwarded = &mut sending => break forwarded,
                step = upload.step(exchange.session) => step?,
            }
        }
    };
    let outcome = &forwarded.outcome;
    let party = outcome
        .endpoint
        .map(|at| labels.endpoint(chosen.cluster, at))
        .unwrap_or_default();
    exchange.record.forwarded(party, outcome);
    let mut response = forwarded.result?;

    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !websocket {
        // Nobody asked for it.
        return Err(LocalReply::upstream(UpstreamErrorKind::Protocol).into());
    }
    tidy_response(&mut response, upgraded, exchange);
    route.response_headers.apply(response.headers_mut());
    chosen.response_headers.apply(response.headers_mut());
    change(response.headers_mut(), &exchange.changes);
    response.headers_mut().insert(SERVER, SERVER_NAME.clone());
    if upgraded {
        return switch_protocols(exchange, response).await;
    }
    let respond = respond(exchange, response, &mut upload);
    match deadline {
        // A client that reads slowly must not stretch the deadline either.
        Some(deadline) => tokio::time::timeout_at(deadline, respond)
            .await
            .unwrap_or(Err(Stop::Deadline)),
        None => respond.await,
    }
}

/// Opens the way for the request's body; a client that waits for it is told to go on.
async fn begin_upload(
    exchange: &mut Exchange<'_>,
    request: &mut Tidied,
) -> Result<(Upload, RequestBody), Stop> {
    let preview = std::mem::take(&mut request.preview);
    let (upload, body) = Upload::of(exchange.session, preview);
    if request.expects_continue && matches!(upload, Upload::Sending(_)) {
        tell_to_go_on(exchange.session).await?;
    }
    Ok((upload, body))
}

/// Sends `100 Continue`.
pub(crate) async fn tell_to_go_on(session: &mut ServerSession) -> Result<(), Box<pingora::Error>> {
    // Otherwise Pingora takes the 100 for an early answer and gives up keep-alive.
    session.set_close_on_response_before_downstream_finish(false);
    session.write_continue_response().await?;
    session.set_close_on_response_before_downstream_finish(true);
    Ok(())
}

/// The request as the route wants it sent.
fn upstream_request(
    route: &HttpRoute,
    chosen: &WeightedCluster,
    request: Tidied,
    body: RequestBody,
    normalization: PathNormalization,
) -> Result<Request<RequestBody>, Stop> {
    let Tidied {
        method,
        path,
        sent_path,
        query,
        mut headers,
        ..
    } = request;
    let rewrite = route.rewrite.as_ref();
    let path = match rewrite.and_then(|rewrite| rewrite.path.as_ref()) {
        Some(rewrite) => normalize_rewritten(rewrite.apply(&path), normalization)
            .map_err(|_| LocalReply::bad_request("the rewritten path is malformed"))?,
        None => sent_path.unwrap_or(path),
    };
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let target = PathAndQuery::try_from(target)
        .map_err(|_| LocalReply::bad_request("the request target is not a valid path"))?;
    route.request_headers.apply(&mut headers);
    chosen.request_headers.apply(&mut headers);
    // The destination's word is the last one.
    let authority = chosen
        .request_headers
        .authority
        .as_ref()
        .or(route.request_headers.authority.as_ref())
        .or_else(|| rewrite?.authority.as_ref());
    if let Some(authority) = authority {
        headers.insert(HOST, authority.clone());
    }
    let mut upstream = Request::new(body);
    *upstream.method_mut() = method;
    *upstream.uri_mut() = Uri::from(target);
    *upstream.headers_mut() = headers;
    Ok(upstream)
}

fn tidy_response<B>(response: &mut Response<B>, upgraded: bool, exchange: &mut Exchange<'_>) {
    let upgrades = if upgraded {
        Upgrades::Keep
    } else {
        Upgrades::Strip
    };
    strip_hop_by_hop(response.headers_mut(), upgrades);
    exchange.record.upstream_answered(response.headers());
    if let Some(took) = exchange.record.service_time() {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        response
            .headers_mut()
            .insert(&SERVICE_TIME, HeaderValue::from(millis));
    }
}

async fn respond(
    exchange: &mut Exchange<'_>,
    response: Response<ForwardBody<RequestBody>>,
    upload: &mut Upload,
) -> Result<(), Stop> {
    let (parts, body) = response.into_parts();
    let after = if body.is_end_stream() {
        After::End
    } else {
        After::Body
    };
    write_head(exchange.session, parts, after, exchange.draining).await?;
    if after == After::Body {
        let trailer = relay(exchange.session, body, upload).await?;
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
