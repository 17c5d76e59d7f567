//! Answers on their way to the client: the response's body, and with it the account of the exchange.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use dataplane::access::{Refusal, change};
use dataplane::body::{BodyEnd, grpc_status};
use dataplane::headers::{Upgrades, strip_hop_by_hop};
use dataplane::telemetry::ResponseFlags;
use dataplane::{ForwardBody, LocalReply};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use http_body::{Body, Frame, SizeHint};

use crate::exchange::Exchange;
use crate::proxy::RequestBody;

/// The body of an answer. The exchange is over when it ends, breaks or is dropped.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    content: Content,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Content {
    /// The proxy's own text, handed out once.
    Local(Option<Bytes>),
    /// The upstream's.
    Upstream(ForwardBody<RequestBody>),
}

/// The proxy's own answer; gRPC callers get a gRPC status.
pub(crate) fn local(mut exchange: Box<Exchange>, reply: &LocalReply) -> Response<AnswerBody> {
    exchange.replied(reply);
    let response = if exchange.is_grpc() {
        reply.grpc()
    } else {
        reply.plain()
    };
    finished(exchange, response)
}

/// The answer to a request that may not pass.
pub(crate) fn refused(mut exchange: Box<Exchange>, refusal: Refusal) -> Response<AnswerBody> {
    exchange.replied(&refusal.reply);
    let response = refusal.into_response(exchange.is_grpc());
    finished(exchange, response)
}

/// A complete answer of the route's (redirect, direct response).
pub(crate) fn ready(
    mut exchange: Box<Exchange>,
    response: Response<Bytes>,
    details: &'static str,
) -> Response<AnswerBody> {
    exchange.answered(response.status().as_u16(), None);
    exchange.note(|record| record.details = details.into());
    finished(exchange, response)
}

fn finished(exchange: Box<Exchange>, mut response: Response<Bytes>) -> Response<AnswerBody> {
    change(response.headers_mut(), &exchange.changes);
    if exchange.is_head && !response.body().is_empty() {
        // hyper drops the body of an answer to HEAD on HTTP/1 only. On HTTP/2 it is a protocol error to the peer,
        // which after a thousand of them closes the connection that all its clients share.
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Bytes::new();
    }
    response.map(|text| AnswerBody {
        content: Content::Local(Some(text).filter(|text| !text.is_empty())),
        exchange: Some(exchange),
    })
}

/// The upstream's answer, its hop-by-hop headers removed.
pub(crate) fn forwarded(
    mut exchange: Box<Exchange>,
    mut response: Response<ForwardBody<RequestBody>>,
) -> Response<AnswerBody> {
    tidy_response(response.headers_mut(), Upgrades::Strip);
    change(response.headers_mut(), &exchange.changes);
    // The version of the other connection means nothing here; an HTTP/1.0 upstream must not end keep-alive.
    *response.version_mut() = Version::HTTP_11;
    exchange.answered(response.status().as_u16(), grpc_status(response.headers()));
    exchange.uploading(response.body().upload().cloned());
    response.map(|body| AnswerBody {
        content: Content::Upstream(body),
        exchange: Some(exchange),
    })
}

/// The head of a `101 Switching Protocols`; the tunnel has the exchange.
pub(crate) fn switching(mut response: Response<ForwardBody<RequestBody>>) -> Response<AnswerBody> {
    tidy_response(response.headers_mut(), Upgrades::Keep);
    *response.version_mut() = Version::HTTP_11;
    response.map(|_| AnswerBody {
        content: Content::Local(None),
        exchange: None,
    })
}

/// Adds a header to an answer.
pub(crate) fn with_header(
    mut response: Response<AnswerBody>,
    name: &HeaderName,
    value: HeaderValue,
) -> Response<AnswerBody> {
    response.headers_mut().insert(name, value);
    response
}

fn tidy_response(headers: &mut HeaderMap, upgrades: Upgrades) {
    strip_hop_by_hop(headers, upgrades);
}

impl AnswerBody {
    fn end(&mut self, end: BodyEnd, flags: ResponseFlags) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.ended(end, flags);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = dataplane::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = match &mut this.content {
            Content::Local(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.end(BodyEnd::Complete, ResponseFlags::NONE);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(exchange) = &mut this.exchange {
                    if let Some(data) = frame.data_ref() {
                        let bytes = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                        exchange.seen.response_bytes += bytes;
                    } else if let Some(trailers) = frame.trailers_ref() {
                        exchange.seen.grpc_status = grpc_status(trailers);
                    }
                }
                if this.is_end_stream() {
                    this.end(BodyEnd::Complete, ResponseFlags::NONE);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.end(BodyEnd::Failed, error.flags());
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Local(text) => text.is_none(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Local(text) => {
                let length = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Bodies without content (HEAD, 204, 304) are dropped without a poll; that is their proper end.
        let end = if self.is_end_stream() {
            BodyEnd::Complete
        } else {
            BodyEnd::Dropped
        };
        self.end(end, ResponseFlags::NONE);
    }
}
