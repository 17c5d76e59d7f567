//! Copies of requests for services that nobody waits for: they share neither time, nor connections, nor fate with the
//! requests that they are copies of.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use policies::resilience::RetryPolicy;
use policies::route::Mirror;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::body::{BodyCopy, RequestBody};
use crate::forward::{Forwarder, Way};
use crate::headers::{TRACEPARENT, TraceContext};
use crate::random;
use crate::snapshot::Snapshot;

/// Copies under way at once in one proxy; further ones are not sent.
const MOST: usize = 256;
/// How long a copy may take where its route says nothing.
const LONGEST: Duration = Duration::from_secs(15);

/// Sends copies; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mirrors {
    forwarder: Forwarder<BodyCopy>,
    places: Arc<Semaphore>,
    counted: IntCounterVec,
}

impl Mirrors {
    /// Mirrors with connections of their own, opened as `forwarder` opens its.
    pub(super) fn beside<B: RequestBody>(
        forwarder: &Forwarder<B>,
    ) -> Result<Self, prometheus::Error> {
        let counted = IntCounterVec::new(
            Opts::new(
                "portcullis_mirrored_requests_total",
                "Copies of requests by what became of them: answered, failed, or skipped as too many were under way.",
            ),
            &["result"],
        )?;
        Ok(Self {
            forwarder: Forwarder::new(forwarder.upstreams.beside()),
            places: Arc::new(Semaphore::new(MOST)),
            counted,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.counted.clone()))
    }

    /// The mirrors of a route that this request belongs to.
    pub(super) fn drawn(mirrors: &[Mirror]) -> impl Iterator<Item = Mirror> {
        mirrors
            .iter()
            .copied()
            .filter(|mirror| mirror.share.takes(random::number()))
    }

    /// Sends a copy and forgets it. `request` has the head as it goes to the route's own destination.
    pub(super) fn send(
        &self,
        snapshot: &Arc<Snapshot>,
        mirror: Mirror,
        mut request: Request<BodyCopy>,
        timeout: Option<Duration>,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counted.with_label_values(&["skipped"]).inc();
            return;
        };
        forget_trace(request.headers_mut());
        let snapshot = Arc::clone(snapshot);
        let cluster = mirror.cluster;
        let mirrors = self.clone();
        tokio::spawn(async move {
            let once = RetryPolicy::off();
            let way = Way {
                deadline: Some(Instant::now() + timeout.unwrap_or(LONGEST)),
                ..Way::new(cluster, &once)
            };
            let sent = mirrors.forwarder.forward(&snapshot, way, request).await;
            // Read to its end, so that the connection can be used again; the deadline holds for the body too.
            let result = match sent.result {
                Ok(response) => read(response.into_body()).await,
                Err(_) => "failed",
            };
            mirrors.counted.with_label_values(&[result]).inc();
            drop(place);
        });
    }
}

async fn read<B: http_body::Body + Unpin>(mut body: B) -> &'static str {
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            return "failed";
        }
    }
    "answered"
}

/// Copies are not sampled (Istio): a trace shows what was waited for.
fn forget_trace(headers: &mut HeaderMap) {
    const SAMPLED: u8 = 1;
    let context = headers
        .get(&TRACEPARENT)
        .and_then(|value| TraceContext::parse(value.as_bytes()));
    if let Some(context) = context.filter(|context| context.flags & SAMPLED != 0) {
        let unsampled = TraceContext {
            flags: context.flags & !SAMPLED,
            ..context
        };
        headers.insert(&TRACEPARENT, unsampled.header());
    }
}
