//! `InvokeService`: an HTTP request that came as a message of gRPC, and its answer as another.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Limited};
use prost::Message as _;
use prost_types::Any;

use super::call::{checked, target};
use super::refusal::{Refusal, grpc_code, status};
use super::wire::{InvokeResponse, InvokeServiceRequest, Verb};
use super::{Dapr, aim};
use crate::activity::InFlight;
use crate::answer::{self, AnswerBody};
use crate::proxy::{Peer, RequestBody};

/// The longest message, as gRPC's own default, in bytes.
const LONGEST: usize = 4 << 20;
/// Compressed flag and length before a message (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;
/// How much of a failed answer's body is told.
const LONGEST_MESSAGE: usize = 1024;

const CANCELLED: u16 = 1;
const INVALID_ARGUMENT: u16 = 3;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;

const HTTP_STATUS: HeaderName = HeaderName::from_static("dapr-http-status");

/// Metadata of gRPC's own, and what is about one connection; the rest travels as headers.
const NOT_THE_CALLS: [HeaderName; 9] = [
    header::TE,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::USER_AGENT,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-message-type"),
];

/// A gRPC status, with the words for it.
type Failed = (u16, &'static str);

impl Dapr {
    /// Carries out one call.
    pub(super) async fn invoke_service(
        &self,
        peer: Arc<Peer>,
        mut request: Request<RequestBody>,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let message = match message_of(&mut request).await {
            Ok(message) => message,
            Err((code, why)) => return status(code, why),
        };
        let (app, request) = match self.as_http(message, request) {
            Ok(request) => request,
            Err(refusal) => return *refusal,
        };
        let answering = Arc::clone(&self.outbound).answer(peer, request, in_flight);
        let answered = Box::pin(answering).await;
        let own = answer::own(&answered).cloned();
        let (head, body) = answered.into_parts();
        let body = match Limited::new(body, LONGEST - PREFIX).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return status(RESOURCE_EXHAUSTED, "the answer is longer than 4 MiB");
            }
            Err(_) => return status(UNAVAILABLE, "the answer broke off"),
        };
        if let Some(own) = own {
            let message = format!("failed to invoke, id: {app}, err: {}", own.text);
            return status(grpc_code(own.status), &message);
        }
        answer_of(head, body)
    }

    /// The request as an application is asked: method, path, query, headers and body.
    fn as_http(
        &self,
        message: InvokeServiceRequest,
        request: Request<RequestBody>,
    ) -> Result<(String, Request<RequestBody>), Box<Response<AnswerBody>>> {
        let app = checked(&message.id).map_err(|refusal| Box::new(refusal.answer(true)))?;
        let Some(call) = message.message.filter(|call| !call.method.is_empty()) else {
            return Err(Box::new(status(INVALID_ARGUMENT, "no method given")));
        };
        let extension = call.http_extension.unwrap_or_default();
        let method = method_of(extension.verb())
            .ok_or_else(|| Box::new(status(INVALID_ARGUMENT, "CONNECT and TRACE are no calls")))?;
        let data = Bytes::from(call.data.unwrap_or_default().value);
        let mut http = request.map(|body| body.replaced(data.clone()));
        *http.method_mut() = method;
        *http.version_mut() = Version::HTTP_11;
        let headers = http.headers_mut();
        for name in &NOT_THE_CALLS {
            headers.remove(name);
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(data.len()));
        if !call.content_type.is_empty() {
            let media = HeaderValue::try_from(call.content_type)
                .map_err(|_| Box::new(status(INVALID_ARGUMENT, "the content type is malformed")))?;
            headers.insert(header::CONTENT_TYPE, media);
        }
        let to = target(&call.method, Some(&extension.querystring));
        aim(&mut http, &self.authority(&app), to)
            .map_err(|reply| Box::new(Refusal::invalid(&reply.body).answer(true)))?;
        Ok((app, http))
    }
}

/// Reads the one message of a unary call.
async fn message_of(request: &mut Request<RequestBody>) -> Result<InvokeServiceRequest, Failed> {
    let read = request.body_mut().peek(LONGEST).await;
    let read = read.map_err(|_| (CANCELLED, "the call broke off"))?;
    if !read.whole {
        return Err((RESOURCE_EXHAUSTED, "the message is longer than 4 MiB"));
    }
    let malformed = (INTERNAL, "the message is malformed");
    let (flag, rest) = read.bytes.split_first().ok_or(malformed)?;
    if *flag != 0 {
        return Err((UNIMPLEMENTED, "compressed messages are not supported"));
    }
    let (length, message) = rest.split_at_checked(PREFIX - 1).ok_or(malformed)?;
    let length = length
        .iter()
        .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
    if length != message.len() {
        return Err(malformed);
    }
    InvokeServiceRequest::decode(message).map_err(|_| malformed)
}

const fn method_of(verb: Verb) -> Option<Method> {
    Some(match verb {
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        // Who names none sends data.
        Verb::None | Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Options => Method::OPTIONS,
        Verb::Patch => Method::PATCH,
        Verb::Connect | Verb::Trace => return None,
    })
}

/// The application's answer as a message, or as the status that stands for its own.
fn answer_of(mut head: http::response::Parts, body: Bytes) -> Response<AnswerBody> {
    let code = grpc_code(head.status);
    let http_status = HeaderValue::from(head.status.as_u16());
    if code != 0 {
        let message = told(head.status, &body);
        let mut failed = status(code, &message);
        failed.headers_mut().insert(HTTP_STATUS, http_status);
        return failed;
    }
    let content_type = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    for name in &NOT_THE_CALLS {
        head.headers.remove(name);
    }
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers.insert(header::CONTENT_TYPE, grpc);
    head.headers.insert(HTTP_STATUS, http_status);
    head.status = StatusCode::OK;
    let message = InvokeResponse {
        data: Some(Any {
            type_url: String::new(),
            value: body.into(),
        }),
        content_type,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    answer::unary(head, framed(&message), trailers)
}

fn framed(message: &InvokeResponse) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows as it must; encoding into it does not fail.
    message.encode(&mut bytes).ok();
    bytes.freeze()
}

/// What the application said, else what its status is called.
fn told(status: StatusCode, body: &Bytes) -> String {
    let body = body.get(..LONGEST_MESSAGE).unwrap_or(body);
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        status.canonical_reason().unwrap_or("failed").to_owned()
    } else {
        text.into_owned()
    }
}
