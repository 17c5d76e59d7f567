//! One unary gRPC call over our own upstream client: the request, and the one message of the answer.

use std::fmt::Display;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use crate::body::grpc_status;

/// Compressed flag and length of a message (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// Why there is no answer; for logs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct GrpcError(String);

impl GrpcError {
    fn new(cause: impl Display) -> Self {
        Self(cause.to_string())
    }
}

/// A call of `method`, `/package.Service/Method`, that is to be answered within `timeout`.
pub(crate) fn call(
    method: &'static str,
    authority: &HeaderValue,
    message: &impl prost::Message,
    timeout: Duration,
) -> Result<Request<Full<Bytes>>, GrpcError> {
    let mut request = Request::post(method)
        .body(Full::new(framed(message)?))
        .map_err(GrpcError::new)?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, authority.clone());
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    let grpc = HeaderValue::from_static("application/grpc");
    headers.insert(header::CONTENT_TYPE, grpc);
    let left = format!("{}m", timeout.as_millis().min(99_999_999));
    if let Ok(left) = HeaderValue::try_from(left) {
        headers.insert(HeaderName::from_static("grpc-timeout"), left);
    }
    Ok(request)
}

/// The message with its prefix.
fn framed(message: &impl prost::Message) -> Result<Bytes, GrpcError> {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).map_err(GrpcError::new)?);
    message.encode(&mut buffer).map_err(GrpcError::new)?;
    Ok(buffer.freeze())
}

/// The one message, of at most `longest` bytes, of a unary call that went well.
pub(crate) async fn answer<M, B>(response: Response<B>, longest: usize) -> Result<M, GrpcError>
where
    M: prost::Message + Default,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<crate::BoxError>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let text = format_args!("it answered the call with HTTP {}", head.status);
        return Err(GrpcError::new(text));
    }
    failed(&head.headers)?;
    let body = Limited::new(body, longest.saturating_add(PREFIX))
        .collect()
        .await;
    let body = body.map_err(|error| GrpcError::new(format_args!("its answer: {error}")))?;
    match body
        .trailers()
        .map(|trailers| (trailers, grpc_status(trailers)))
    {
        Some((_, Some(0))) => {}
        Some((trailers, _)) => {
            failed(trailers)?;
            return Err(GrpcError::new("its answer ended without a gRPC status"));
        }
        None => return Err(GrpcError::new("its answer ended without trailers")),
    }
    let mut body = body.to_bytes();
    if body.len() < PREFIX {
        return Err(GrpcError::new("it answered without a message"));
    }
    let compressed = body.get_u8() != 0;
    let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
    if compressed || length != body.len() {
        return Err(GrpcError::new(
            "its message is not framed as one plain message",
        ));
    }
    M::decode(body).map_err(GrpcError::new)
}

/// Whether headers or trailers carry a gRPC status that is not OK.
fn failed(headers: &HeaderMap) -> Result<(), GrpcError> {
    match grpc_status(headers) {
        None | Some(0) => Ok(()),
        Some(code) => {
            let text = headers.get("grpc-message").map(HeaderValue::as_bytes);
            let text = runtime::escape::escape_bytes(text.unwrap_or_default(), 128);
            Err(GrpcError::new(format_args!("gRPC status {code}: {text}")))
        }
    }
}
