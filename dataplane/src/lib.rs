//! What gateway and sidecar both do with I/O: the per-generation [`Snapshot`], the mTLS upstream client, the
//! endpoint loop, header hygiene, local replies, request metrics and the access log.
//!
//! # A request through this crate
//! A proxy loads one [`Snapshot`] from the [`PolicyStore`], tidies the request with [`headers`], decides and
//! routes, and hands the chosen cluster to a [`Forwarder`], which picks an endpoint, sends the request through
//! [`Upstreams`] and answers with a response whose body returns its connection to the pool when it ends.
//! What went wrong becomes a [`LocalReply`]; what happened becomes one [`telemetry::RequestMetrics`]
//! observation and one [`telemetry::AccessLog`] line.

pub mod access;
pub mod body;
pub mod breakers;
pub mod chaos;
pub mod checked;
pub mod clock;
pub mod config;
pub mod decisions;
pub mod endpoint_source;
pub mod ext_authz;
pub mod forward;
mod grpc;
pub mod headers;
pub mod health;
pub mod identity_status;
pub mod local_reply;
pub mod pages;
pub mod passthrough;
pub mod policy_store;
pub mod random;
pub mod rate_limit;
pub mod registry;
pub mod resolve;
pub mod route;
pub mod shed;
pub mod sizes;
pub mod snapshot;
pub mod tcp;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod upstream;

pub use access::Access;
pub use body::{Begun, BoxError, RequestBody};
pub use endpoint_source::EndpointSource;
pub use forward::{ForwardBody, Forwarded, Forwarder, Opened, Outcome, Unopened};
pub use health::HealthChecks;
pub use local_reply::LocalReply;
pub use policy_store::PolicyStore;
pub use rate_limit::RateLimiter;
pub use route::Router;
pub use snapshot::{ProxyContext, Role, Snapshot};
pub use upstream::{
    DialError, OpaqueStream, Target, UpstreamBody, UpstreamError, UpstreamErrorKind,
    UpstreamProtocol, Upstreams,
};
