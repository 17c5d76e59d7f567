//! Asks a provider over HTTP: the request itself, with the headers that Envoy sends as Istio configures it; 200 allows.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};

use super::change::{HeaderChange, is_framing, set};
use super::provider::{HttpRules, Provider};
use super::{Allowed, Answer, CheckHttp, ExtAuthz, Fault, MAX_ANSWER, denial};
use crate::snapshot::Snapshot;

/// Whether the body that the provider sees is cut (Envoy).
pub(super) const PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");
/// By this header of its answer a provider takes headers away from the request (Envoy).
const REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

impl ExtAuthz {
    /// Asks, and reads the answer.
    pub(super) async fn ask_http(
        &self,
        snapshot: &Snapshot,
        provider: &Provider,
        rules: &HttpRules,
        http: &CheckHttp<'_>,
    ) -> Result<Answer, Fault> {
        let question = question(rules, http)?;
        let response = self.send(snapshot, provider, question, None).await?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            // Read so that the connection can be used again; what it says does not matter.
            drop(Limited::new(body, MAX_ANSWER).collect().await);
            return Ok(Answer::Allow(allowed(rules, &head.headers)));
        }
        if head.status.is_server_error() {
            return Err(Fault::unanswered(format_args!(
                "it answered {}",
                head.status
            )));
        }
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Fault::unanswered(format_args!("its answer: {error}")))?;
        let headers = denied(rules, &head.headers);
        let answer = Response::builder()
            .status(head.status)
            .body(body.to_bytes());
        let answer = answer.map_err(Fault::unanswered)?;
        Ok(Answer::Deny(denial(answer, &headers, http.headers)))
    }
}

/// The request to the provider.
fn question(rules: &HttpRules, http: &CheckHttp<'_>) -> Result<Request<Full<Bytes>>, Fault> {
    let invalid =
        |error: &dyn std::fmt::Display| Fault::unanswered(format_args!("the question: {error}"));
    let (body, complete) = http.body.clone().unwrap_or_default();
    let uri = format!("{}{}", rules.path_prefix, http.target);
    let request = Request::builder().method(http.method).uri(uri);
    let mut request = request
        .body(Full::new(body.clone()))
        .map_err(|error| invalid(&error))?;
    let headers = request.headers_mut();
    for (name, value) in http.headers {
        let wanted = *name == header::AUTHORIZATION || rules.request.matches(name);
        if wanted && *name != header::HOST && *name != PARTIAL_BODY && !is_framing(name) {
            headers.append(name, value.clone());
        }
    }
    if http.body.is_some() && rules.request.matches(&PARTIAL_BODY) {
        let partial = HeaderValue::from_static(if complete { "false" } else { "true" });
        headers.insert(PARTIAL_BODY, partial);
    }
    for (name, value) in &rules.additional {
        headers.insert(name, value.clone());
    }
    let host = HeaderValue::from_str(http.host).map_err(|error| invalid(&error))?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(request)
}

/// What an allowing answer changes.
fn allowed(rules: &HttpRules, answer: &HeaderMap) -> Allowed {
    let mut allowed = Allowed::default();
    let carried = answer
        .iter()
        .filter(|(name, _)| !is_framing(name) && **name != REMOVE && **name != header::HOST);
    for (name, value) in carried {
        if rules.upstream_on_allow.matches(name) {
            set(&mut allowed.request, name.clone(), value.clone());
        }
        if rules.downstream_on_allow.matches(name) {
            let change = HeaderChange::Append(name.clone(), value.clone());
            allowed.response.push(change);
        }
    }
    let named = answer.get_all(REMOVE).iter();
    let names = named.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    for name in names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()) {
        // As Envoy: a name that may not be removed is passed over.
        if name != header::HOST && !is_framing(&name) {
            allowed.request.push(HeaderChange::Remove(name));
        }
    }
    allowed
}

/// The headers of a denying answer that the client gets: all, or those that are listed and two that always are.
fn denied(rules: &HttpRules, answer: &HeaderMap) -> Vec<HeaderChange> {
    let listed = &rules.downstream_on_deny;
    let mut changes = Vec::new();
    for (name, value) in answer {
        let always = [header::WWW_AUTHENTICATE, header::LOCATION].contains(name);
        let wanted = listed.is_empty() || always || listed.matches(name);
        if wanted && *name != header::HOST && *name != REMOVE && !is_framing(name) {
            set(&mut changes, name.clone(), value.clone());
        }
    }
    changes
}
