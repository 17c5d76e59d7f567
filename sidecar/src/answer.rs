//! Answers on their way to the client: the response's body, and with it the account of the exchange.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use dataplane::access::{Refusal, change};
use dataplane::body::{BodyEnd, grpc_status};
use dataplane::headers::{Upgrades, strip_hop_by_hop};
use dataplane::telemetry::ResponseFlags;
use dataplane::{ForwardBody, LocalReply};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
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
    /// One message of gRPC and its trailers.
    Unary(Option<Bytes>, Option<HeaderMap>),
    /// None: the stream is reset before a head, an HTTP/1.1 connection closed.
    Reset,
    /// The head of an answer and, when that is sent, a reset.
    BrokenOff { sent: bool },
}

/// What happens to a stream that is reset on purpose.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
pub(crate) struct Reset;

/// The proxy's own answer; gRPC callers get a gRPC status.
pub(crate) fn local(mut exchange: Box<Exchange>, reply: &LocalReply) -> Response<AnswerBody> {
    exchange.replied(reply);
    let response = if exchange.is_grpc() {
        reply.grpc()
    } else {
        reply.plain()
    };
    let mut response = finished(exchange, response);
    response.extensions_mut().insert(OwnAnswer {
        status: reply.status,
        text: reply.body.to_string(),
    });
    response
}

/// Marks an answer as the proxy's own, for whoever tells it in other words.
#[derive(Clone, Debug)]
pub(crate) struct OwnAnswer {
    /// The status that HTTP callers see.
    pub(crate) status: StatusCode,
    /// The words.
    pub(crate) text: String,
}

/// What the proxy said itself; `None` for an upstream's answer.
pub(crate) fn own(response: &Response<AnswerBody>) -> Option<&OwnAnswer> {
    response.extensions().get()
}

/// An answer of the proxy's own in other words.
pub(crate) fn reworded(
    mut response: Response<AnswerBody>,
    status: StatusCode,
    text: Bytes,
    media: HeaderValue,
) -> Response<AnswerBody> {
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CONTENT_TYPE, media);
    response.body_mut().content = Content::Local(Some(text));
    response
}

/// An answer that no account is kept of.
pub(crate) fn bare(
    status: StatusCode,
    text: Bytes,
    media: Option<HeaderValue>,
) -> Response<AnswerBody> {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    if let Some(media) = media {
        head.headers.insert(CONTENT_TYPE, media);
    }
    with_head(head, text)
}

/// The same with a head.
pub(crate) fn with_head(head: Parts, text: Bytes) -> Response<AnswerBody> {
    let body = AnswerBody {
        content: Content::Local(Some(text).filter(|text| !text.is_empty())),
        exchange: None,
    };
    Response::from_parts(head, body)
}

/// An answer of gRPC with one message, that no account is kept of.
pub(crate) fn unary(head: Parts, message: Bytes, trailers: HeaderMap) -> Response<AnswerBody> {
    let body = AnswerBody {
        content: Content::Unary(Some(message), Some(trailers)),
        exchange: None,
    };
    Response::from_parts(head, body)
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

/// No answer: the caller sees a reset.
pub(crate) fn reset(mut exchange: Exchange, flags: ResponseFlags) -> Response<AnswerBody> {
    exchange.answered(0, None);
    exchange.ended(BodyEnd::Failed, flags);
    Response::new(AnswerBody {
        content: Content::Reset,
        exchange: None,
    })
}

/// An answer that breaks off behind its head.
pub(crate) fn broken_off(mut exchange: Exchange, flags: ResponseFlags) -> Response<AnswerBody> {
    exchange.answered(200, None);
    exchange.ended(BodyEnd::Failed, flags);
    Response::new(AnswerBody {
        content: Content::BrokenOff { sent: false },
        exchange: None,
    })
}

/// Whether there is an answer; what is to be reset has none.
pub(crate) fn or_reset(response: Response<AnswerBody>) -> Result<Response<AnswerBody>, Reset> {
    match response.body().content {
        Content::Reset => Err(Reset),
        _ => Ok(response),
    }
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
            Content::Unary(message, trailers) => {
                let message = message.take().map(Frame::data);
                let next = message.or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(next.map(Ok))
            }
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
            Content::BrokenOff { sent } if !*sent => {
                // Who waits is asked for nothing until the head is sent.
                *sent = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Content::Reset | Content::BrokenOff { .. } => {
                return Poll::Ready(Some(Err(Reset.into())));
            }
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
                        let longest = exchange.longest_response.unwrap_or(u64::MAX);
                        if exchange.seen.response_bytes > longest {
                            this.end(BodyEnd::Failed, ResponseFlags::LOCAL_RESET);
                            let text = "the response is longer than `limits.responseBytes`";
                            return Poll::Ready(Some(Err(text.into())));
                        }
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
            Content::Unary(message, trailers) => message.is_none() && trailers.is_none(),
            Content::Upstream(body) => body.is_end_stream(),
            Content::Reset | Content::BrokenOff { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Local(text) => {
                let length = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Content::Upstream(body) => body.size_hint(),
            Content::Unary(..) | Content::Reset | Content::BrokenOff { .. } => SizeHint::default(),
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
