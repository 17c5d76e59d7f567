//! What is answered when a call does not come about, as Dapr says it: `{"errorCode", "message"}`, or a gRPC status.

use bytes::Bytes;
use dataplane::LocalReply;
use dataplane::telemetry::ResponseFlags;
use http::header::HeaderName;
use http::{HeaderValue, Response, StatusCode};

use super::JSON;
use crate::answer::{self, AnswerBody, OwnAnswer};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// An error of this API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// The call is malformed.
    pub(super) fn invalid(why: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ERR_DIRECT_INVOKE", why)
    }

    /// Not for whoever asks.
    pub(super) fn forbidden(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ERR_FORBIDDEN", why)
    }

    /// Another part of Dapr's API.
    pub(super) fn unsupported(path: &str) -> Self {
        let shown = runtime::escape::escape(path, 128);
        let message = format!(
            "`{shown}` is not supported: this sidecar serves service invocation, /v1.0/invoke/{{app-id}}/method/{{path}}"
        );
        Self::new(StatusCode::NOT_IMPLEMENTED, "ERR_NOT_SUPPORTED", &message)
    }

    /// No certificate or no policies yet.
    pub(super) fn not_ready() -> Self {
        let code = "ERR_HEALTH_NOT_READY";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, code, "the sidecar is not ready")
    }

    /// A call that the proxy answered itself. Dapr tells every failure to reach a service as 500; what is the
    /// caller's own affair (4xx) keeps its status.
    pub(super) fn of_call(own: &OwnAnswer) -> Self {
        let status = match own.status {
            status if status.is_client_error() => status,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = format!("{}: {}", own.status.as_u16(), own.text);
        Self::new(status, "ERR_DIRECT_INVOKE", &message)
    }

    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
        }
    }

    /// The body.
    pub(super) fn json(&self) -> Bytes {
        let body = serde_json::json!({"errorCode": self.code, "message": self.message});
        body.to_string().into()
    }

    /// The whole answer.
    pub(super) fn answer(&self, grpc: bool) -> Response<AnswerBody> {
        if grpc {
            status(grpc_code(self.status), &self.message)
        } else {
            answer::bare(self.status, self.json(), Some(JSON))
        }
    }
}

/// A gRPC status and nothing else (gRPC over HTTP/2, "Trailers-Only").
pub(super) fn status(code: u16, message: &str) -> Response<AnswerBody> {
    let none = ResponseFlags::NONE;
    let mut reply = LocalReply::new(StatusCode::OK, "", none, "");
    reply.body = message.to_owned().into();
    let (mut head, body) = reply.grpc().into_parts();
    head.headers.insert(GRPC_STATUS, HeaderValue::from(code));
    answer::with_head(head, body)
}

/// The gRPC status code that Dapr gives an HTTP status (dapr, `pkg/messaging/v1`).
pub(super) const fn grpc_code(status: StatusCode) -> u16 {
    match status.as_u16() {
        200..=299 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 5,
        408 => 1,
        409 => 6,
        429 => 8,
        501 => 12,
        503 => 14,
        504 => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_told_as_dapr_tells_it() {
        for (status, told) in [(503, 500), (502, 500), (504, 500), (404, 404), (403, 403)] {
            let own = OwnAnswer {
                status: StatusCode::from_u16(status).unwrap(),
                text: "no healthy upstream".to_owned(),
            };
            let refusal = Refusal::of_call(&own);
            assert_eq!(refusal.status.as_u16(), told);
            let body: serde_json::Value = serde_json::from_slice(&refusal.json()).unwrap();
            assert_eq!(body["errorCode"], "ERR_DIRECT_INVOKE");
            assert_eq!(body["message"], format!("{status}: no healthy upstream"));
        }
    }
}
