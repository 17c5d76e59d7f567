//! The answer to whoever may not pass.

use bytes::Bytes;
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
    /// What the client gets; gRPC callers get a gRPC status. A provider's answer has the caller's form already.
    pub fn into_response(self, is_grpc: bool) -> Response<Bytes> {
        match self.response {
            Some(response) => response,
            None if is_grpc => self.reply.grpc(),
            None => self.reply.plain(),
        }
    }
}
