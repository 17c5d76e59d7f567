//! Answers that need no upstream: refusals, redirects, fixed responses.

use bytes::Bytes;
use dataplane::LocalReply;
use dataplane::access::{Refusal, change};
use dataplane::local_reply::is_grpc;
use http::header::{CONTENT_TYPE, LOCATION, SERVER};
use http::{HeaderValue, Response};
use policies::route::{DirectResponse, HttpRoute, Redirect};

use crate::exchange::{Exchange, Stop};
use crate::response::write_whole;
use crate::tidy::Tidied;

/// What the `server` header says, whatever the application says.
pub(crate) static SERVER_NAME: HeaderValue = HeaderValue::from_static("portcullis");

/// Answers with one of our own replies, in gRPC's form for gRPC.
pub(crate) async fn reply(exchange: &mut Exchange<'_>, reply: &LocalReply) -> Result<(), Stop> {
    exchange.record.replied(reply);
    let response = reply.response(&exchange.session.req_header().headers);
    send(exchange, response).await
}

/// Answers a request that may not pass.
pub(crate) async fn refuse(exchange: &mut Exchange<'_>, refusal: Refusal) -> Result<(), Stop> {
    exchange.record.replied(&refusal.reply);
    let grpc = is_grpc(&exchange.session.req_header().headers);
    send(exchange, refusal.into_response(grpc)).await
}

/// Answers with the redirect of a route.
pub(crate) async fn redirect(
    exchange: &mut Exchange<'_>,
    redirect: &Redirect,
    route: &HttpRoute,
    request: &Tidied,
) -> Result<(), Stop> {
    let location = redirect.location(&request.view(exchange.connection));
    let location = HeaderValue::try_from(location)
        .map_err(|_| LocalReply::bad_request("the redirect's location is not a valid header"))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(LOCATION, location);
    route.response_headers.apply(response.headers_mut());
    exchange.record.answered("direct_response");
    send(exchange, response).await
}

/// Answers with the fixed response of a route.
pub(crate) async fn direct(
    exchange: &mut Exchange<'_>,
    direct: &DirectResponse,
    route: &HttpRoute,
) -> Result<(), Stop> {
    let mut response = Response::new(Bytes::copy_from_slice(&direct.body));
    *response.status_mut() = direct.status;
    if !direct.body.is_empty() {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    route.response_headers.apply(response.headers_mut());
    exchange.record.answered("direct_response");
    send(exchange, response).await
}

async fn send(exchange: &mut Exchange<'_>, mut response: Response<Bytes>) -> Result<(), Stop> {
    change(response.headers_mut(), &exchange.changes);
    response.headers_mut().insert(SERVER, SERVER_NAME.clone());
    write_whole(exchange.session, response, exchange.draining).await?;
    Ok(())
}
