//! What is answered: Istio's status and body with the decision's number, and what changes in an allowed request.

use std::collections::BTreeSet;

use bytes::Bytes;
use dataplane::access::Judged as _;
use dataplane::ext_authz::HeaderChange;
use dataplane::ext_authz::wire::auth::check_response::HttpResponse;
use dataplane::ext_authz::wire::auth::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use dataplane::ext_authz::wire::core::header_value_option::HeaderAppendAction;
use dataplane::ext_authz::wire::core::{HeaderValue as Pair, HeaderValueOption, QueryParameter};
use dataplane::ext_authz::wire::{HttpStatus, Status};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::question::{Asked, Malformed};

/// Codes of `google.rpc.Code`.
const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

const APPEND: HeaderAppendAction = HeaderAppendAction::AppendIfExistsOrAdd;
const OVERWRITE: HeaderAppendAction = HeaderAppendAction::OverwriteIfExistsOrAdd;

fn status(code: i32) -> Status {
    let message = String::new();
    Status { code, message }
}

/// It passes, unchanged.
pub(super) fn allowed() -> CheckResponse {
    ok(OkHttpResponse::default())
}

fn ok(response: OkHttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(status(OK)),
        http_response: Some(HttpResponse::OkResponse(response)),
        ..CheckResponse::default()
    }
}

/// It passes, with what token rules and providers changed between `before` and `after`.
pub(super) fn changed(before: &Asked, after: &Asked, response: &[HeaderChange]) -> CheckResponse {
    let (set, removed) = headers_between(before.headers(), after.headers());
    let (query_set, query_removed) = query_between(before.query(), after.query());
    ok(OkHttpResponse {
        headers: set,
        headers_to_remove: removed,
        response_headers_to_add: response.iter().filter_map(option_of).collect(),
        query_parameters_to_set: query_set,
        query_parameters_to_remove: query_removed,
        ..OkHttpResponse::default()
    })
}

/// It does not pass: this is what the client gets.
pub(super) fn denied(response: Response<Bytes>) -> CheckResponse {
    let (head, body) = response.into_parts();
    let code = match head.status {
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        _ => PERMISSION_DENIED,
    };
    // The asking proxy frames its own answer, and calls a body plain text by itself.
    let headers = head.headers.iter().filter(|(name, value)| {
        let plain = **name == header::CONTENT_TYPE && **value == "text/plain";
        **name != header::CONTENT_LENGTH && !plain
    });
    let headers = headers.map(|(name, value)| {
        let replaces = *name == header::CONTENT_TYPE;
        option(name, value, if replaces { OVERWRITE } else { APPEND })
    });
    CheckResponse {
        status: Some(status(code)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: head.status.as_u16().into(),
            }),
            headers: headers.collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })),
        ..CheckResponse::default()
    }
}

/// The connection does not pass: there is nobody to tell.
pub(super) fn connection_denied() -> CheckResponse {
    CheckResponse {
        status: Some(status(PERMISSION_DENIED)),
        ..CheckResponse::default()
    }
}

/// 400, with the reason.
pub(super) fn malformed(why: &Malformed) -> CheckResponse {
    let mut response = Response::new(Bytes::from(why.to_string()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    denied(response)
}

fn option(name: &HeaderName, value: &HeaderValue, action: HeaderAppendAction) -> HeaderValueOption {
    let (text, raw) = match value.to_str() {
        Ok(text) => (text.to_owned(), Vec::new()),
        Err(_) => (String::new(), value.as_bytes().to_vec()),
    };
    // `append: true` would be left out of denials and join values with commas; older Envoys know no other way to replace.
    HeaderValueOption {
        header: Some(Pair {
            key: name.as_str().to_owned(),
            value: text,
            raw_value: raw,
        }),
        append: (action == OVERWRITE).then_some(false),
        append_action: action.into(),
    }
}

/// A change of the response; taking headers away is not among what the protocol has.
fn option_of(change: &HeaderChange) -> Option<HeaderValueOption> {
    let (name, value, action) = match change {
        HeaderChange::Set(name, value) => (name, value, OVERWRITE),
        HeaderChange::Append(name, value) => (name, value, APPEND),
        HeaderChange::AddIfAbsent(name, value) => (name, value, HeaderAppendAction::AddIfAbsent),
        HeaderChange::SetIfPresent(name, value) => {
            (name, value, HeaderAppendAction::OverwriteIfExists)
        }
        HeaderChange::Remove(_) => return None,
    };
    Some(option(name, value, action))
}

/// What makes the one set of headers into the other: headers to set, and names to remove.
fn headers_between(before: &HeaderMap, after: &HeaderMap) -> (Vec<HeaderValueOption>, Vec<String>) {
    let same = |name: &HeaderName| before.get_all(name).iter().eq(after.get_all(name));
    let mut set = Vec::new();
    for name in after.keys().filter(|name| !same(name)) {
        let mut action = OVERWRITE;
        for value in after.get_all(name) {
            set.push(option(name, value, action));
            action = APPEND;
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    (set, gone.map(|name| name.as_str().to_owned()).collect())
}

/// What makes the one query into the other, by parameter.
fn query_between(before: Option<&str>, after: Option<&str>) -> (Vec<QueryParameter>, Vec<String>) {
    if before == after {
        return (Vec::new(), Vec::new());
    }
    let parameters = |query: Option<&'_ str>| -> BTreeSet<(String, String)> {
        let parts = query.unwrap_or_default().split('&');
        let named = parts.filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.to_owned(), value.to_owned())
        });
        named.collect()
    };
    let (before, after) = (parameters(before), parameters(after));
    let set = after.difference(&before).cloned();
    let kept: BTreeSet<&String> = after.iter().map(|(name, _)| name).collect();
    let removed = before
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !kept.contains(name));
    let removed: BTreeSet<String> = removed.cloned().collect();
    let set = set.map(|(key, value)| QueryParameter { key, value });
    (set.collect(), removed.into_iter().collect())
}
