//! Asks a provider over gRPC: one unary call, `envoy.service.auth.v3.Authorization/Check`.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Response, StatusCode};

use super::change::{HeaderChange, changeable, set};
use super::provider::Provider;
use super::question::question;
use super::wire::auth::CheckResponse;
use super::wire::auth::check_response::HttpResponse;
use super::wire::auth::{DeniedHttpResponse, OkHttpResponse};
use super::wire::core::HeaderValueOption;
use super::wire::core::header_value_option::HeaderAppendAction;
use super::{Allowed, Answer, CheckRequest, ExtAuthz, Fault, MAX_ANSWER, QueryChange, denial};
use crate::grpc;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamProtocol;

const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";

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
        let message = question(check, packed);
        let request = grpc::call(METHOD, authority, &message, provider.timeout);
        let request = request.map_err(Fault::unanswered)?;
        let response = self
            .send(snapshot, provider, request, Some(UpstreamProtocol::Http2))
            .await?;
        let answer = grpc::answer(response, MAX_ANSWER).await;
        answered(answer.map_err(Fault::unanswered)?, check)
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
