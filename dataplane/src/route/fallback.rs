//! What a request is answered where its destination fails (`Fallback`): the same answer always, or another destination's.
//!
//! The failure is known before anything of an answer was passed on, so that nothing that has begun is ever replaced.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use policies::cluster::{ClusterIndex, Fallback, FallbackAnswer};
use policies::document::FallbackWhen;
use policies::resilience::RetryPolicy;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use super::{Origin, Router};
use crate::body::{Begun, RequestBody};
use crate::forward::{Forwarded, Outcome, Way};
use crate::headers::Upgrades;
use crate::local_reply::is_grpc;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;

/// What the log says about an answer that was written down beforehand.
pub(super) const DETAILS: &str = "fallback_response";

/// On every answer that is a fallback.
static MARK: HeaderName = HeaderName::from_static("x-portcullis-fallback");

/// Counts fallbacks; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Fallbacks {
    counted: IntCounterVec,
}

/// A fallback that is ready before its request is sent.
#[derive(Debug)]
pub(super) struct Ready<B> {
    fallback: Arc<Fallback>,
    /// Whose fallback it is.
    of: ClusterIndex,
    /// The request once more, if it has no body and there is another destination.
    again: Option<(ClusterIndex, Request<Begun<B>>)>,
    /// Whether the request may be carried out twice (RFC 9110 §9.2.2).
    idempotent: bool,
    /// Whether the caller understands a plain answer.
    plain: bool,
}

/// What came of a failure.
pub(super) enum Fallen<B: RequestBody> {
    /// There was none, or no fallback for it: the first answer stands.
    No(Forwarded<Begun<B>>),
    /// The answer that was written down.
    Written(Response<Bytes>, Outcome),
    /// The answer of another cluster.
    Elsewhere(Forwarded<Begun<B>>, ClusterIndex),
}

impl Fallbacks {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let counted = IntCounterVec::new(
            Opts::new(
                "portcullis_fallbacks_total",
                "Failures with a fallback, by what it was about and what became of it: response, destination, or failed.",
            ),
            &["when", "result"],
        )?;
        Ok(Self { counted })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.counted.clone()))
    }

    fn count(&self, when: FallbackWhen, result: &str) {
        self.counted
            .with_label_values(&[when.as_str(), result])
            .inc();
    }
}

/// Prepares the fallback of a cluster for a request as it is about to be sent there.
pub(super) fn ready<B: RequestBody>(
    snapshot: &Snapshot,
    cluster: ClusterIndex,
    origin: &Origin<'_>,
    request: &Request<Begun<B>>,
) -> Option<Ready<B>> {
    // A tunnel cannot be opened a second time.
    if origin.upgrades == Upgrades::Keep {
        return None;
    }
    let fallback = Arc::clone(snapshot.clusters.get(cluster)?.fallback.as_ref()?);
    let again = match fallback.answer {
        FallbackAnswer::Cluster(other) => copy(request).map(|copy| (other, copy)),
        FallbackAnswer::Response { .. } => None,
    };
    Some(Ready {
        fallback,
        of: cluster,
        again,
        idempotent: request.method().is_idempotent(),
        plain: !is_grpc(request.headers()),
    })
}

/// The same request again; none if it has a body, which can be sent once only.
fn copy<B: RequestBody>(request: &Request<Begun<B>>) -> Option<Request<Begun<B>>> {
    let body = request.body();
    if !body.is_end_stream() && body.size_hint().exact() != Some(0) {
        return None;
    }
    let mut copy = Request::new(Begun::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}

/// The failure that an answer is; none if it is no failure of the destination.
fn failure<B: RequestBody>(sent: &Forwarded<Begun<B>>) -> Option<FallbackWhen> {
    let (status, flags) = match &sent.result {
        Ok(response) => (response.status(), ResponseFlags::NONE),
        Err(reply) => (reply.status, reply.flags),
    };
    classify(status, flags)
}

fn classify(status: StatusCode, flags: ResponseFlags) -> Option<FallbackWhen> {
    const FAILURES: [(ResponseFlags, FallbackWhen); 5] = [
        (ResponseFlags::UPSTREAM_OVERFLOW, FallbackWhen::Overflow),
        (
            ResponseFlags::NO_HEALTHY_UPSTREAM,
            FallbackWhen::NoHealthyUpstream,
        ),
        (
            ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            FallbackWhen::Timeout,
        ),
        (ResponseFlags::STREAM_IDLE_TIMEOUT, FallbackWhen::Timeout),
        (
            ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            FallbackWhen::ConnectFailure,
        ),
    ];
    // A route that leads nowhere is a mistake to be seen, not a service that fails.
    if !status.is_server_error() || flags.contains(ResponseFlags::NO_CLUSTER_FOUND) {
        return None;
    }
    let mut known = FAILURES.iter().filter(|(flag, _)| flags.contains(*flag));
    let named = known.next().map(|(_, when)| *when);
    Some(named.unwrap_or(FallbackWhen::ServerError))
}

/// Says that an answer is a fallback.
pub(super) fn mark<B>(response: &mut Response<B>) {
    response
        .headers_mut()
        .insert(&MARK, HeaderValue::from_static("true"));
}

fn written(status: StatusCode, content_type: &HeaderValue, body: &[u8]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(body));
    *response.status_mut() = status;
    if !body.is_empty() {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    response
}

impl<B: RequestBody> Router<B> {
    /// Looks for another answer where the first one is a failure. `chosen` is told the cluster that is asked.
    pub(super) async fn fall_back(
        &self,
        snapshot: &Arc<Snapshot>,
        ready: Option<Ready<B>>,
        deadline: Option<Instant>,
        chosen: &mut (impl FnMut(ClusterIndex) + Send),
        mut sent: Forwarded<Begun<B>>,
    ) -> Fallen<B> {
        let Some(ready) = ready else {
            return Fallen::No(sent);
        };
        let failure = failure(&sent);
        let Some(when) = failure.and_then(|failure| ready.fallback.holds(failure)) else {
            return Fallen::No(sent);
        };
        if let FallbackAnswer::Response {
            status,
            content_type,
            body,
        } = &ready.fallback.answer
        {
            if !ready.plain {
                return Fallen::No(sent);
            }
            self.fallbacks.count(when, "response");
            sent.outcome.flags |= ResponseFlags::FALLBACK;
            return Fallen::Written(written(*status, content_type, body), sent.outcome);
        }
        let once = ready.idempotent || sent.outcome.attempts == 0;
        let Some((cluster, request)) = ready.again.filter(|_| once) else {
            self.fallbacks.count(when, "failed");
            return Fallen::No(sent);
        };
        chosen(cluster);
        let policy = RetryPolicy::off();
        let way = Way {
            deadline,
            ..Way::new(cluster, &policy)
        };
        let mut other = Box::pin(self.forwarder.forward(snapshot, way, request)).await;
        let well = other
            .result
            .as_ref()
            .is_ok_and(|response| !response.status().is_server_error());
        if !well {
            // Two failures: the first one says what is wrong.
            chosen(ready.of);
            self.fallbacks.count(when, "failed");
            return Fallen::No(sent);
        }
        self.fallbacks.count(when, "destination");
        other.outcome.flags |= sent.outcome.flags | ResponseFlags::FALLBACK;
        Fallen::Elsewhere(other, cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_name_of_their_cause() {
        let of = |status: u16, flags| classify(StatusCode::from_u16(status).unwrap(), flags);
        for (flags, when) in [
            (ResponseFlags::UPSTREAM_OVERFLOW, FallbackWhen::Overflow),
            (
                ResponseFlags::NO_HEALTHY_UPSTREAM,
                FallbackWhen::NoHealthyUpstream,
            ),
            (
                ResponseFlags::UPSTREAM_REQUEST_TIMEOUT
                    | ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED,
                FallbackWhen::Timeout,
            ),
            (
                ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
                FallbackWhen::ConnectFailure,
            ),
            (ResponseFlags::NONE, FallbackWhen::ServerError),
            (
                ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
                FallbackWhen::ServerError,
            ),
        ] {
            assert_eq!(of(503, flags), Some(when), "{flags}");
        }
        assert_eq!(of(200, ResponseFlags::NONE), None);
        assert_eq!(of(404, ResponseFlags::NONE), None);
        assert_eq!(of(503, ResponseFlags::NO_CLUSTER_FOUND), None);
    }
}
