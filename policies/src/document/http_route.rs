//! Istio's `HTTPRoute`: one rule of `spec.http` of a VirtualService.

mod base64;
mod header_rules;
mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Destination, Spanned, StringMatch};
use crate::diagnostic::DocPath;
use crate::source::Location;

/// One rule: conditions and what to do.
#[derive(Clone, Debug)]
pub struct HttpRule {
    /// Where the rule starts.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `name`, for logs.
    pub name: Option<String>,
    /// `match`: alternatives; empty matches everything.
    pub matches: Vec<HttpMatch>,
    /// `route`: weighted destinations.
    pub route: Vec<HttpDestination>,
    /// `redirect`.
    pub redirect: Option<HttpRedirect>,
    /// `directResponse`.
    pub direct_response: Option<DirectResponse>,
    /// `delegate`: namespace and name of another VirtualService; not in force.
    pub delegate: Option<Spanned<String>>,
    /// `rewrite`.
    pub rewrite: Option<HttpRewrite>,
    /// `timeout` of the whole request, all tries included; none means no limit.
    pub timeout: Option<Spanned<Duration>>,
    /// `retries`; not in force.
    pub retries: Option<Spanned<HttpRetry>>,
    /// `fault`; not in force.
    pub fault: Option<Spanned<HttpFault>>,
    /// `mirror` and `mirrors`; not in force.
    pub mirrors: Vec<Spanned<Mirror>>,
    /// `headers`.
    pub headers: Headers,
}

/// Istio's `HTTPMatchRequest`; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct HttpMatch {
    /// `name`, for logs.
    pub name: Option<String>,
    /// `uri`: the path without query.
    pub uri: Option<Spanned<StringMatch>>,
    /// `ignoreUriCase`: exact and prefix only.
    pub ignore_uri_case: bool,
    /// `scheme`.
    pub scheme: Option<Spanned<StringMatch>>,
    /// `method`.
    pub method: Option<Spanned<StringMatch>>,
    /// `authority`: with the port if the client sent one.
    pub authority: Option<Spanned<StringMatch>>,
    /// `headers`, names in lower case.
    pub headers: BTreeMap<String, Spanned<StringMatch>>,
    /// `withoutHeaders`, names in lower case.
    pub without_headers: BTreeMap<String, Spanned<StringMatch>>,
    /// `queryParams`.
    pub query_params: BTreeMap<String, Spanned<StringMatch>>,
    /// `port`: the listener's.
    pub port: Option<Spanned<u16>>,
    /// `gateways`: replaces the document's list for this match.
    pub gateways: Vec<Spanned<String>>,
    /// `sourceLabels`: the calling sidecar's workload; gateways ignore it.
    pub source_labels: BTreeMap<String, String>,
    /// `sourceNamespace`: the calling sidecar's namespace; gateways ignore it.
    pub source_namespace: Option<String>,
}

/// Istio's `HTTPRouteDestination`.
#[derive(Clone, Debug)]
pub struct HttpDestination {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `destination`.
    pub destination: Destination,
    /// `weight`, relative to the other destinations.
    pub weight: u32,
    /// `headers` of this destination only.
    pub headers: Headers,
}

/// Istio's `Headers`.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// Changes to the request.
    pub request: HeaderRules,
    /// Changes to the response.
    pub response: HeaderRules,
}

/// Istio's `HeaderOperations`; names are valid and in lower case, values are valid.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    /// Overwritten.
    pub set: BTreeMap<String, Spanned<String>>,
    /// Appended.
    pub add: BTreeMap<String, Spanned<String>>,
    /// Taken away, before anything is added.
    pub remove: Vec<Spanned<String>>,
}

/// Istio's `HTTPRedirect`.
#[derive(Clone, Debug)]
pub struct HttpRedirect {
    /// Where it stands.
    pub at: Location,
    /// `uri`: replaces the whole path.
    pub uri: Option<String>,
    /// `authority`: replaces the host.
    pub authority: Option<String>,
    /// `port` or `derivePort`.
    pub port: Option<RedirectPort>,
    /// `scheme`: `http` or `https`.
    pub scheme: Option<String>,
    /// `redirectCode`: 301, 302, 303, 307 or 308.
    pub code: u16,
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPort {
    /// `port`.
    Number(u16),
    /// `derivePort: FROM_PROTOCOL_DEFAULT`: 80 or 443, so not shown.
    ProtocolDefault,
    /// `derivePort: FROM_REQUEST_PORT`.
    Request,
}

/// Istio's `HTTPDirectResponse`.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// Where it stands.
    pub at: Location,
    /// `status`, 200 to 599.
    pub status: u16,
    /// `body.string` or `body.bytes`, at most 1 MiB.
    pub body: Vec<u8>,
}

/// Istio's `HTTPRewrite`.
#[derive(Clone, Debug)]
pub struct HttpRewrite {
    /// Where it stands.
    pub at: Location,
    /// `uri`: replaces the matched prefix, or the whole path after an exact or regular expression match.
    pub uri: Option<String>,
    /// `authority`: replaces the Host.
    pub authority: Option<String>,
    /// `uriRegexRewrite`.
    pub regex: Option<RegexRewrite>,
}

/// Istio's `RegexRewrite`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexRewrite {
    /// `match`: what is replaced, every occurrence.
    pub pattern: String,
    /// `rewrite`: with `\1` for groups.
    pub rewrite: String,
}

/// Istio's `HTTPRetry`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpRetry {
    /// `attempts`: retries after the first try; 0 is off.
    pub attempts: u32,
    /// `perTryTimeout`.
    pub per_try_timeout: Option<Duration>,
    /// `retryOn`, split at commas.
    pub retry_on: Vec<String>,
    /// `backoff`.
    pub backoff: Option<Duration>,
}

/// Istio's `HTTPFaultInjection`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFault {
    /// `delay.fixedDelay` and its percentage.
    pub delay: Option<(Duration, f64)>,
    /// `abort.httpStatus` and its percentage.
    pub abort: Option<(u16, f64)>,
}

/// Istio's `HTTPMirrorPolicy`.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// `destination`.
    pub destination: Destination,
    /// `percentage.value`, 0 to 100.
    pub percentage: f64,
}
