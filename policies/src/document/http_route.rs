//! Istio's `HTTPRoute`: one rule of `spec.http` of a VirtualService.

mod action;
mod base64;
mod cors;
mod fault;
mod header_rules;
mod matching;
mod mirror;
mod retry;
mod schema;

use std::time::Duration;

pub use action::{DirectResponse, HttpRedirect, HttpRewrite, RedirectPort, RegexRewrite};
pub use cors::{CorsPolicy, UnmatchedPreflights};
pub use fault::{AbortStatus, FaultAbort, FaultDelay, GrpcStatus, HttpFault};
pub use header_rules::{HeaderRules, Headers};
pub use matching::HttpMatch;
pub use mirror::Mirror;
pub use retry::{HttpRetry, RetryOn};

use super::{Destination, Spanned};
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
    /// `delegate`: another VirtualService, as `name` or `namespace/name`.
    pub delegate: Option<Spanned<String>>,
    /// `rewrite`.
    pub rewrite: Option<HttpRewrite>,
    /// `timeout` of the whole request, all tries included; none means no limit.
    pub timeout: Option<Spanned<Duration>>,
    /// `retries`; none is the mesh's default.
    pub retries: Option<Spanned<HttpRetry>>,
    /// `fault`.
    pub fault: Option<Box<Spanned<HttpFault>>>,
    /// `mirror` with `mirrorPercentage`, or `mirrors`.
    pub mirrors: Vec<Spanned<Mirror>>,
    /// `corsPolicy`.
    pub cors: Option<Box<Spanned<CorsPolicy>>>,
    /// `headers`.
    pub headers: Headers,
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
    /// `weight`, relative to the other destinations; 0 if not given.
    pub weight: u32,
    /// `headers` of this destination only.
    pub headers: Headers,
}
