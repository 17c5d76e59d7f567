//! Retries that repeat what may have taken effect, which they only do where an annotation asks for it.

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{CompiledRegexes, DocumentSet, HttpRule, RetryOn, RouteAnnotations};
use crate::resilience::Repeats;
use crate::route::{Listener, condition};

/// Methods whose requests do more when they are repeated (RFC 9110 §9.2.2).
const WRITES: [&str; 2] = ["POST", "PATCH"];

/// Whether the destination may have done its work before it failed so.
fn is_late(on: RetryOn) -> bool {
    match on {
        RetryOn::ServerError
        | RetryOn::GatewayError
        | RetryOn::Reset
        | RetryOn::Retriable4xx
        | RetryOn::RetriableHeaders
        | RetryOn::DeadlineExceeded
        | RetryOn::Internal
        | RetryOn::Status(_) => true,
        // Refused, cancelled or never received; and without statuses of its own the list of statuses is empty.
        RetryOn::ResetBeforeRequest
        | RetryOn::ConnectFailure
        | RetryOn::RefusedStream
        | RetryOn::RetriableStatusCodes
        | RetryOn::EnvoyRateLimited
        | RetryOn::Http3PostConnectFailure
        | RetryOn::Cancelled
        | RetryOn::ResourceExhausted
        | RetryOn::Unavailable => false,
    }
}

/// Finds retries of writes.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    let repeated = documents.virtual_services.iter();
    let repeated = repeated
        .filter(|document| RouteAnnotations::of(&document.meta).repeats == Repeats::Everything);
    let rules = repeated.flat_map(|document| &document.http);
    found.extend(rules.filter_map(|rule| retried_writes(rule, &documents.regexes)));
}

fn retried_writes(rule: &HttpRule, regexes: &CompiledRegexes) -> Option<Diagnostic> {
    let retries = rule
        .retries
        .as_ref()
        .filter(|retries| retries.attempts > 0)?;
    let late = retries.retry_on.iter().filter(|on| is_late(**on));
    let on: Vec<String> = late.map(ToString::to_string).collect();
    if on.is_empty() {
        return None;
    }
    let methods: Vec<&str> = WRITES
        .into_iter()
        .filter(|method| takes(rule, method, regexes))
        .collect();
    if methods.is_empty() {
        return None;
    }
    let message = format!(
        "retries on `{}` send {} requests again that may have taken effect",
        on.join(","),
        methods.join(", ")
    );
    let help = "leave out the annotation `portcullis.dev/retry-non-idempotent`, or retry only what was never received: \
                `retryOn: connect-failure,refused-stream`";
    let (at, path) = (retries.at.clone(), &retries.path);
    Some(Diagnostic::warning(codes::RETRIED_WRITES, at, path, message).with_help(help))
}

/// Whether a rule's match lets a method through.
fn takes(rule: &HttpRule, method: &str, regexes: &CompiledRegexes) -> bool {
    let listener = Listener {
        port: None,
        gateway: "",
        source: None,
    };
    rule.matches.is_empty()
        || rule.matches.iter().any(|found| {
            condition(found, listener, &regexes.0)
                .method
                .is_none_or(|wanted| wanted.matches(method.as_bytes()))
        })
}
