//! Asks a provider over gRPC: one unary call, `envoy.service.auth.v3.Authorization/Check`.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use prost::Message as _;

use super::change::{HeaderChange, changeable, set};
use super::provider::Provider;
use super::question::question;
use super::wire::auth::CheckResponse;
use super::wire::auth::check_response::HttpResponse;
use super::wire::auth::{DeniedHttpResponse, OkHttpResponse};
use super::wire::core::HeaderValueOption;
use super::wire::core::header_value_option::HeaderAppendAction;
use super::{Allowed, Answer, CheckRequest, ExtAuthz, Fault, MAX_ANSWER, QueryChange, denial};
use crate::body::grpc_status;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamProtocol;

const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Compressed flag and length of a message (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

impl ExtAuthz {
    /// Asks, and reads the answer.
    pub(super) async fn ask_grpc(
        &self,
        snapshot: &Snapshot,
        provider: &Provider,
        authority: &HeaderValue,
        check: &CheckRequest<'_>,
    ) -> Result<Answer, Fault> {
        let packed = provider.body.is_some_and(|body| body.pack_as_bytes);
        let message = framed(&question(check, packed))?;
        let mut request = Request::post(METHOD)
            .body(Full::new(message))
            .map_err(Fault::unanswered)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, authority.clone());
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        let grpc = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, grpc);
        let left = format!("{}m", provider.timeout.as_millis().min(99_999_999));
        if let Ok(left) = HeaderValue::try_from(left) {
            headers.insert(HeaderName::from_static("grpc-timeout"), left);
        }
        let response = self
            .send(snapshot, provider, request, Some(UpstreamProtocol::Http2))
            .await?;
        let answer = message_of(response).await?;
        answered(answer, check)
    }
}

/// The message with its prefix.
fn framed(message: &impl prost::Message) -> Result<Bytes, Fault> {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX + length);
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).map_err(Fault::unanswered)?);
    message.encode(&mut buffer).map_err(Fault::unanswered)?;
    Ok(buffer.freeze())
}

/// The one message of a unary call that went well.
async fn message_of<B>(response: Response<B>) -> Result<CheckResponse, Fault>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<crate::BoxError>,
{
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let text = format_args!("it answered the call with HTTP {}", head.status);
        return Err(Fault::unanswered(text));
    }
    failed(&head.headers)?;
    let body = Limited::new(body, MAX_ANSWER + PREFIX).collect().await;
    let body = body.map_err(|error| Fault::unanswered(format_args!("its answer: {error}")))?;
    match body
        .trailers()
        .map(|trailers| (trailers, grpc_status(trailers)))
    {
        Some((_, Some(0))) => {}
        Some((trailers, _)) => {
            failed(trailers)?;
            return Err(Fault::unanswered("its answer ended without a gRPC status"));
        }
        None => return Err(Fault::unanswered("its answer ended without trailers")),
    }
    let mut body = body.to_bytes();
    if body.len() < PREFIX {
        return Err(Fault::unanswered("it answered without a message"));
    }
    let compressed = body.get_u8() != 0;
    let length = usize::try_from(body.get_u32()).unwrap_or(usize::MAX);
    if compressed || length != body.len() {
        return Err(Fault::unanswered(
            "its message is not framed as one plain message",
        ));
    }
    CheckResponse::decode(body).map_err(Fault::unanswered)
}

/// Whether headers or trailers carry a gRPC status that is not OK.
fn failed(headers: &HeaderMap) -> Result<(), Fault> {
    match grpc_status(headers) {
        None | Some(0) => Ok(()),
        Some(code) => {
            let text = headers.get("grpc-message").map(HeaderValue::as_bytes);
            let text = runtime::escape::escape_bytes(text.unwrap_or_default(), 128);
            Err(Fault::unanswered(format_args!(
                "gRPC status {code}: {text}"
            )))
        }
    }
}

/// What the answer means. One that says nothing, or the contrary of itself, is no answer.
fn answered(answer: CheckResponse, check: &CheckRequest<'_>) -> Result<Answer, Fault> {
    let allows = answer.status.as_ref().map(|status| status.code == 0);
    match (allows, answer.http_response) {
        (_, Some(HttpResponse::ErrorResponse(_))) => {
            Err(Fault::unanswered("it says that it could not tell"))
        }
        (Some(true), None) => Ok(Answer::Allow(Allowed::default())),
        (Some(true) | None, Some(HttpResponse::OkResponse(ok))) => allowed(ok).map(Answer::Allow),
        (Some(false) | None, Some(HttpResponse::DeniedResponse(denied))) => {
            denied_by(denied, check).map(Answer::Deny)
        }
        // Without a word about the client's response it is a 403 without body (Envoy).
        (Some(false), _) => denied_by(DeniedHttpResponse::default(), check).map(Answer::Deny),
        (Some(true), Some(HttpResponse::DeniedResponse(_))) => Err(Fault::invalid(
            "its status allows the request and its response denies it",
        )),
        (None, None) => Err(Fault::invalid("its answer is empty")),
    }
}

fn allowed(ok: OkHttpResponse) -> Result<Allowed, Fault> {
    let mut request = changes(ok.headers)?;
    for name in &ok.headers_to_remove {
        // As Envoy: a name that may not be removed is passed over.
        request.extend(changeable(name).ok().map(HeaderChange::Remove));
    }
    let set = ok.query_parameters_to_set.into_iter();
    let set = set.map(|parameter| QueryChange::Set(parameter.key, parameter.value));
    let removed = ok.query_parameters_to_remove.into_iter();
    Ok(Allowed {
        request,
        query: set.chain(removed.map(QueryChange::Remove)).collect(),
        response: changes(ok.response_headers_to_add)?,
        failed_open: false,
    })
}

fn denied_by(
    denied: DeniedHttpResponse,
    check: &CheckRequest<'_>,
) -> Result<Response<Bytes>, Fault> {
    let code = denied.status.map_or(0, |status| status.code);
    let status = match u16::try_from(code).map(StatusCode::from_u16) {
        Ok(Ok(status)) if (200..600).contains(&code) => status,
        _ if code == 0 => StatusCode::FORBIDDEN,
        _ => {
            let text = format_args!("`{code}` is no status of a response");
            return Err(Fault::invalid(text));
        }
    };
    let mut answer = Response::new(Bytes::from(denied.body));
    *answer.status_mut() = status;
    let changes = changes(denied.headers)?;
    Ok(match &check.http {
        Some(http) => denial(answer, &changes, http.headers),
        // A connection is closed without a word.
        None => answer,
    })
}

/// Header changes. Where neither `append` nor `append_action` is given, the value replaces what was there: a client
/// must not be able to put its own beside the provider's.
fn changes(options: Vec<HeaderValueOption>) -> Result<Vec<HeaderChange>, Fault> {
    let mut changes = Vec::with_capacity(options.len());
    for option in options {
        let header = option.header.unwrap_or_default();
        let name = changeable(&header.key)?;
        let value = if header.raw_value.is_empty() {
            HeaderValue::try_from(header.value)
        } else {
            HeaderValue::try_from(header.raw_value)
        };
        let value = value.map_err(|_| {
            Fault::invalid(format_args!("`{name}` has a value that no header can have"))
        })?;
        match (
            option.append,
            HeaderAppendAction::try_from(option.append_action),
        ) {
            (Some(true), _) => changes.push(HeaderChange::Append(name, value)),
            (Some(false), _)
            | (
                None,
                Ok(
                    HeaderAppendAction::AppendIfExistsOrAdd
                    | HeaderAppendAction::OverwriteIfExistsOrAdd,
                ),
            ) => set(&mut changes, name, value),
            (None, Ok(HeaderAppendAction::AddIfAbsent)) => {
                changes.push(HeaderChange::AddIfAbsent(name, value));
            }
            (None, Ok(HeaderAppendAction::OverwriteIfExists)) => {
                changes.push(HeaderChange::SetIfPresent(name, value));
            }
            (None, Err(_)) => return Err(Fault::invalid("an `append_action` that nobody knows")),
        }
    }
    Ok(changes)
}
