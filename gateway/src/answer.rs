//! Answers that need no upstream: refusals, and what routes answer themselves.

use bytes::Bytes;
use dataplane::LocalReply;
use dataplane::access::{Refusal, change};
use dataplane::local_reply::is_grpc;
use http::header::SERVER;
use http::{HeaderValue, Response};

use crate::exchange::{Exchange, Stop};
use crate::response::write_whole;

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

/// Answers with the response of a route.
pub(crate) async fn by_route(
    exchange: &mut Exchange<'_>,
    response: Response<Bytes>,
    details: &'static str,
) -> Result<(), Stop> {
    exchange.record.answered(details);
    send(exchange, response).await
}

async fn send(exchange: &mut Exchange<'_>, mut response: Response<Bytes>) -> Result<(), Stop> {
    change(response.headers_mut(), &exchange.changes);
    response.headers_mut().insert(SERVER, SERVER_NAME.clone());
    write_whole(exchange.session, response, exchange.draining).await?;
    Ok(())
}
