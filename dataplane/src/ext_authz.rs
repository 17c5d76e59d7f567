//! CUSTOM: asks an extension provider (Envoy's ext_authz over HTTP or gRPC) about a request.
//!
//! A provider is reached like any other service, through its cluster: by mTLS with its identity verified if it is in
//! the mesh. It answers in time and in full, or it has not answered: then the client gets `statusOnError`, unless
//! `failOpen` lets the request pass. An answer that asks for what no provider may change is refused with 500, whatever
//! `failOpen` says, since a request must not go on half changed.

mod change;
mod grpc;
mod http;
mod metrics;
mod provider;
mod query;
mod question;
#[cfg(test)]
mod tests;
pub mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Version};
use bytes::Bytes;
use http_body_util::Full;
use identity::SpiffeId;
use identity::material::MaterialReader;
use prometheus::Registry;
use tokio::time::Instant;

pub use change::HeaderChange;
pub use provider::Providers;
pub use query::QueryChange;

use crate::forward::{ForwardBody, Forwarder, Told, Way};
use crate::local_reply::{LocalReply, is_grpc};
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::upstream::{Limits, UpstreamProtocol, Upstreams};
use metrics::Metrics;
use policies::resilience::RetryPolicy;
use provider::{Kind, Provider};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// What a provider is told about a request, or about a TCP connection.
#[derive(Debug)]
pub struct CheckRequest<'a> {
    /// The peer's verified identity.
    pub source_principal: Option<&'a SpiffeId>,
    /// Our own identity.
    pub destination_principal: Option<&'a SpiffeId>,
    /// The direct TCP peer.
    pub source: SocketAddr,
    /// Our end of the connection, with the port that documents speak of.
    pub destination: SocketAddr,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The request; none for TCP, which only gRPC providers can judge.
    pub http: Option<CheckHttp<'a>>,
}

/// The HTTP part of a [`CheckRequest`].
#[derive(Debug)]
pub struct CheckHttp<'a> {
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The authority.
    pub host: &'a str,
    /// The canonical path, with the query.
    pub target: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The request's body, as far as the provider wants it ([`ExtAuthz::wanted_body`]); whether it is all of it.
    pub body: Option<(Bytes, bool)>,
}

/// How much of a request's body a provider wants to see (`includeRequestBodyInCheck`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedBody {
    /// At most so many bytes.
    pub max: usize,
    /// A longer body is cut; otherwise it is refused with 413.
    pub allow_partial: bool,
}

/// What a provider answered.
#[derive(Debug)]
pub enum CheckAnswer {
    /// The request goes on, changed like this.
    Allow(Box<Allowed>),
    /// The provider's own answer for the client: `ext_authz_denied`, flag UAEX. It has the caller's form: a gRPC status
    /// for callers of gRPC.
    Deny(Box<Response<Bytes>>),
    /// The provider did not answer, and may not be missing: what the client gets. `ext_authz_error`, flag UAEX.
    Failed(Box<LocalReply>),
}

/// What a provider changes in a request that it lets pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Header changes of the request, in order ([`HeaderChange::apply_all`]).
    pub request: Vec<HeaderChange>,
    /// Changes of the request's query, in order ([`QueryChange::apply_all`]).
    pub query: Vec<QueryChange>,
    /// Header changes of the response, in order.
    pub response: Vec<HeaderChange>,
    /// The provider did not answer, and `failOpen` let the request pass.
    pub failed_open: bool,
}

/// What became of a question that was answered.
#[derive(Debug)]
enum Answer {
    Allow(Allowed),
    Deny(Response<Bytes>),
}

/// Why a question has no answer that counts.
#[derive(Debug)]
struct Fault {
    kind: FaultKind,
    /// For logs, never for clients.
    cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultKind {
    /// `statusOnError`, or `failOpen`.
    Unanswered,
    /// Always 500.
    Invalid,
}

impl Fault {
    fn unanswered(cause: impl fmt::Display) -> Self {
        let kind = FaultKind::Unanswered;
        let cause = cause.to_string();
        Self { kind, cause }
    }

    fn invalid(cause: impl fmt::Display) -> Self {
        let kind = FaultKind::Invalid;
        let cause = cause.to_string();
        Self { kind, cause }
    }
}

/// The providers' client. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ExtAuthz(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    forwarder: Forwarder<Full<Bytes>>,
    metrics: Metrics,
}

impl ExtAuthz {
    /// A client that proves this workload's identity to providers in the mesh with the material of `reader`, and counts
    /// as `portcullis_ext_authz_*`.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn new(reader: MaterialReader, registry: &Registry) -> Result<Self, prometheus::Error> {
        let client = Self::unregistered(reader);
        client.0.metrics.register(registry)?;
        Ok(client)
    }

    fn unregistered(reader: MaterialReader) -> Self {
        Self(Arc::new(Inner {
            forwarder: Forwarder::new(Upstreams::new(reader, Limits::default())),
            metrics: Metrics::new(),
        }))
    }

    /// Closes idle connections now and keeps none any more: the process drains.
    pub fn close_idle(&self) {
        self.0.forwarder.upstreams.close_idle();
    }

    /// How much of the body `provider` wants to see; none if nothing.
    pub fn wanted_body(snapshot: &Snapshot, provider: &str) -> Option<WantedBody> {
        let body = snapshot.providers.get(provider)?.body?;
        Some(WantedBody {
            max: usize::try_from(body.max_request_bytes).unwrap_or(usize::MAX),
            allow_partial: body.allow_partial_message,
        })
    }

    /// Asks `provider`.
    pub async fn check(
        &self,
        snapshot: &Snapshot,
        provider: &str,
        request: CheckRequest<'_>,
    ) -> CheckAnswer {
        let Some(provider) = snapshot.providers.get(provider) else {
            // Its service is not declared: documents like that are not put in force.
            tracing::warn!(
                provider,
                "an external authorizer that nobody can reach was to be asked"
            );
            return CheckAnswer::Failed(Box::new(unanswered(StatusCode::FORBIDDEN)));
        };
        let begun = Instant::now();
        let answer = match (&provider.kind, &request.http) {
            (Kind::Grpc { authority }, _) => {
                self.ask_grpc(snapshot, provider, authority, &request).await
            }
            (Kind::Http(rules), Some(http)) => self.ask_http(snapshot, provider, rules, http).await,
            (Kind::Http(_), None) => Err(Fault::unanswered(
                "an HTTP provider cannot judge a TCP connection",
            )),
        };
        let answer = match answer {
            Ok(Answer::Allow(allowed)) => CheckAnswer::Allow(Box::new(allowed)),
            Ok(Answer::Deny(response)) => CheckAnswer::Deny(Box::new(response)),
            Err(fault) => self.faulty(provider, &fault),
        };
        self.0
            .metrics
            .observe(&provider.name, &answer, begun.elapsed());
        answer
    }

    /// What holds without an answer.
    fn faulty(&self, provider: &Provider, fault: &Fault) -> CheckAnswer {
        let name = &*provider.name;
        let cause = runtime::escape::escape(&fault.cause, 256);
        let open = provider.fail_open && fault.kind == FaultKind::Unanswered;
        if self.0.metrics.may_warn() {
            let outcome = if open { "passes" } else { "is denied" };
            tracing::warn!(provider = name, %cause, "no answer of an external authorizer; the request {outcome}");
        }
        if open {
            return CheckAnswer::Allow(Box::new(Allowed {
                failed_open: true,
                ..Allowed::default()
            }));
        }
        CheckAnswer::Failed(Box::new(match fault.kind {
            FaultKind::Unanswered => unanswered(provider.status_on_error),
            FaultKind::Invalid => LocalReply::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "",
                ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE,
                "ext_authz_invalid",
            ),
        }))
    }

    /// Sends a question to the provider's cluster.
    async fn send(
        &self,
        snapshot: &Snapshot,
        provider: &Provider,
        question: Request<Full<Bytes>>,
        protocol: Option<UpstreamProtocol>,
    ) -> Result<Response<ForwardBody<Full<Bytes>>>, Fault> {
        let deadline = Instant::now().checked_add(provider.timeout);
        // A question changes nothing, but a provider may take part of it for a second request: only what never arrived
        // is sent again.
        let retry = RetryPolicy::default();
        let way = Way {
            deadline,
            protocol,
            told: Told::Nothing,
            ..Way::new(provider.cluster, &retry)
        };
        let sent = self.0.forwarder.forward(snapshot, way, question).await;
        sent.result.map_err(|reply| match sent.outcome.failure {
            Some(failure) => Fault::unanswered(format_args!("{}: {failure}", reply.details)),
            None => Fault::unanswered(reply.details),
        })
    }
}

/// A client without an identity: for what asks plaintext providers only.
impl Default for ExtAuthz {
    fn default() -> Self {
        Self::unregistered(identity::material::channel().1)
    }
}

/// `statusOnError` without body, as Envoy's.
const fn unanswered(status: StatusCode) -> LocalReply {
    LocalReply::new(
        status,
        "",
        ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE,
        "ext_authz_error",
    )
}

/// A provider's denial in the form of the caller: callers of gRPC get a gRPC status, others a body that is plain text
/// unless the provider says what it is (Envoy).
fn denial(
    mut answer: Response<Bytes>,
    changes: &[HeaderChange],
    request: &HeaderMap,
) -> Response<Bytes> {
    if is_grpc(request) {
        let mut reply = unanswered(answer.status());
        reply.body = String::from_utf8_lossy(answer.body()).into_owned().into();
        let mut grpc = reply.grpc();
        // The body is the gRPC message now; what describes it as a body would be wrong.
        for change in changes {
            if ![CONTENT_TYPE, CONTENT_ENCODING].contains(change.name()) {
                change.apply(grpc.headers_mut());
            }
        }
        return grpc;
    }
    let length = answer.body().len();
    let headers = answer.headers_mut();
    if length > 0 {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    HeaderChange::apply_all(changes, headers);
    headers.insert(CONTENT_LENGTH, length.into());
    answer
}
