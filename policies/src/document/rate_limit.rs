//! RateLimit (`portcullis.dev`): how many requests are let through.

mod envoy;
mod envoy_filter;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{Attachment, Meta, Spanned, StringMatch};
use crate::diagnostic::DocPath;
use crate::rate_limit::PathTemplate;
use crate::source::Location;

pub(crate) use envoy_filter::envoy_filter;

/// Limits of the requests to (or of) some workloads.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// What it is called.
    pub meta: Meta,
    /// `spec.selector` or `spec.targetRefs`; without, every workload of the namespace.
    pub attachment: Attachment,
    /// `spec.direction`.
    pub direction: LimitDirection,
    /// `spec.local`: counted by each process for itself.
    pub local: Option<LocalRateLimit>,
    /// `spec.global`: counted for several processes together.
    pub global: Option<GlobalRateLimit>,
}

impl RateLimit {
    /// The service that it names.
    pub fn service(&self) -> Option<&RateLimitService> {
        self.global.as_ref()?.service.as_ref()
    }
}

/// Which requests of a workload are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitDirection {
    /// `INBOUND`, the default: those that it gets.
    #[default]
    Inbound,
    /// `OUTBOUND`: those that it sends.
    Outbound,
}

/// `local`: token buckets in each process.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRateLimit {
    /// `limits`: a request needs a token of every limit that is about it.
    pub limits: Vec<LimitRule>,
    /// `enabledPercent` of requests that are looked at; default 100.
    pub enabled_percent: f64,
    /// `enforcedPercent` of requests over a limit that are refused; default 100.
    pub enforced_percent: f64,
    /// `perConnection`: buckets of each client connection, not of the process.
    pub per_connection: bool,
    /// `response`: the answer to a request over a limit.
    pub response: LimitResponse,
}

/// One of `local.limits` and `global.limits`.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitRule {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `name`, for metrics and logs.
    pub name: Option<String>,
    /// `match`: which requests; all of them if not given.
    pub scope: LimitScope,
    /// `by`: one bucket for each combination of these values; one for all requests if empty.
    pub by: Vec<LimitKey>,
    /// `requests`, `unit` or `interval`, `burst`.
    pub bucket: TokenBucket,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// `requests` an interval: tokens added each time.
    pub requests: u32,
    /// `unit` or `interval`, at least 50ms.
    pub interval: Duration,
    /// `burst`: what the bucket holds; default `requests`.
    pub burst: u32,
}

/// `match`: everything that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LimitScope {
    /// `hosts`: one of them.
    pub hosts: Vec<String>,
    /// `ports` of the listener: one of them.
    pub ports: Vec<u16>,
    /// `routes`: names of HTTP routes, one of them.
    pub routes: Vec<String>,
    /// `methods`: one of them.
    pub methods: Vec<String>,
    /// `path`.
    pub path: Option<StringMatch>,
    /// `headers`: each of them.
    pub headers: BTreeMap<String, StringMatch>,
}

/// One of `by`: a value of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitKey {
    /// `key`: what a rate limit service calls it.
    pub key: String,
    /// What the value is.
    pub source: KeySource,
    /// `equals`: only requests with this value are counted; empty values never.
    pub equals: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// `header`.
    Header {
        /// `name`, in lower case.
        name: String,
        /// `ifMissing: COUNT`: a request without it counts with an empty value; by default it is not counted.
        count_if_missing: bool,
    },
    /// `remoteAddress`: the client's address, or the block that it is in.
    RemoteAddress {
        /// `prefixLength4`, default 32.
        prefix_v4: u8,
        /// `prefixLength6`, default 128.
        prefix_v6: u8,
    },
    /// `principal`: the caller's mTLS identity.
    Principal,
    /// `claim.name`: of the verified token, with dots or as `[a][b]`; of a list the first text.
    Claim(String),
    /// `path`, without query.
    Path,
    /// `path.templates`: the first one that fits; a path that fits none is not counted.
    PathTemplates(Vec<PathTemplate>),
    /// `method`.
    Method,
    /// `host`, without port.
    Host,
    /// `route`: the name of the HTTP rule.
    Route,
    /// `queryParameter.name`.
    QueryParameter(String),
    /// `value`: always this one.
    Constant(String),
    /// Envoy's `header_value_match`: a value if headers match (or do not).
    Headers {
        /// The value.
        value: String,
        /// Whether they have to match.
        expect: bool,
        /// By name.
        headers: Vec<(String, StringMatch)>,
    },
}

/// `response`.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitResponse {
    /// `status`, default 429.
    pub status: u16,
    /// `body`, default `local_rate_limited`; none for a global limit, as in Envoy.
    pub body: Option<String>,
    /// `headers` that are added.
    pub headers: BTreeMap<String, String>,
    /// `rateLimitHeaders`: `x-ratelimit-…` and `ratelimit` on every answer; a refusal always has them.
    pub rate_limit_headers: bool,
}

impl Default for LimitResponse {
    fn default() -> Self {
        Self {
            status: 429,
            body: None,
            headers: BTreeMap::new(),
            rate_limit_headers: false,
        }
    }
}

/// `global`: Redis counts, or a service of Envoy's `RateLimitService`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalRateLimit {
    /// `redis`: where `limits` are counted.
    pub redis: Option<RedisCounter>,
    /// `limits`: a request needs a token of every limit that is about it.
    pub limits: Vec<LimitRule>,
    /// `service`; without, that of another RateLimit of the same workloads.
    pub service: Option<RateLimitService>,
    /// `descriptors`: what it is asked.
    pub descriptors: Vec<GlobalDescriptor>,
    /// `response`: the answer to a request over a limit.
    pub response: LimitResponse,
}

/// `global.redis`.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisCounter {
    /// `address`: host and port.
    pub address: Spanned<String>,
    /// `database`, default 0.
    pub database: u32,
    /// `username`; Redis's default user if not given.
    pub username: Option<String>,
    /// `passwordFile`: a file on the proxy's machine.
    pub password_file: Option<PathBuf>,
    /// `timeout`, default 20ms: how long a request waits for Redis.
    pub timeout: Duration,
    /// `failureMode: DENY`: requests are refused if Redis does not answer; `ALLOW`: they pass. Never guessed.
    pub deny_on_failure: bool,
    /// `statusOnError`: the status of such a refusal; default 500.
    pub status_on_error: u16,
}

/// `global.service`.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitService {
    /// `host`: a declared service.
    pub host: Spanned<String>,
    /// `port`.
    pub port: Spanned<u16>,
    /// `domain`: which of the service's configurations.
    pub domain: String,
    /// `timeout`, default 20ms.
    pub timeout: Duration,
    /// `failureMode: DENY`: requests are refused if the service does not answer; by default they pass.
    pub deny_on_failure: bool,
    /// `statusOnError`: the status of such a refusal; default 500.
    pub status_on_error: u16,
}

/// One of `global.descriptors`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalDescriptor {
    /// `match`: which requests.
    pub scope: LimitScope,
    /// `by`: its entries, in order.
    pub by: Vec<LimitKey>,
}
