//! The answer to whoever may not pass.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response};

use super::Note;
use crate::local_reply::LocalReply;

/// The number of the decision against a request: all that a client learns about the reason.
pub static DECISION_HEADER: HeaderName = HeaderName::from_static("x-portcullis-decision");

/// A request or connection that may not pass.
#[derive(Debug)]
pub struct Refused<'s> {
    /// What the access log says about it.
    pub note: Note<'s>,
    /// What the client gets.
    pub refusal: Refusal,
}

/// The answer against a request.
#[derive(Debug)]
pub struct Refusal {
    /// The answer, as the log and the metrics know it.
    pub reply: LocalReply,
    /// The provider's own answer, which the client gets instead of the reply's text.
    response: Option<Response<Bytes>>,
}

impl<'s> Refused<'s> {
    pub(super) fn new(
        note: Note<'s>,
        mut reply: LocalReply,
        mut response: Option<Response<Bytes>>,
    ) -> Box<Self> {
        let number = note
            .decision
            .and_then(|id| HeaderValue::try_from(id.to_string()).ok());
        if let Some(number) = number {
            if let Some(response) = &mut response {
                response.headers_mut().insert(&DECISION_HEADER, number);
            } else {
                reply.headers.push((DECISION_HEADER.clone(), number));
            }
        }
        Box::new(Self {
            note,
            refusal: Refusal { reply, response },
        })
    }
}

impl Refusal {
    /// What the client gets; gRPC callers get a gRPC status.
    pub fn into_response(self, is_grpc: bool) -> Response<Bytes> {
        let Self {
            reply, response, ..
        } = self;
        let Some(mut response) = response else {
            return if is_grpc { reply.grpc() } else { reply.plain() };
        };
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        headers.insert(CONTENT_LENGTH, length);
        if !is_grpc {
            return response;
        }
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_TYPE);
        let (parts, body) = response.into_parts();
        let reply = LocalReply {
            body: String::from_utf8_lossy(&body).into_owned().into(),
            ..reply
        };
        let mut answer = reply.grpc();
        for (name, value) in &parts.headers {
            answer.headers_mut().append(name, value.clone());
        }
        answer
    }
}
