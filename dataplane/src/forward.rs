//! Forwards one routed request: its tries, one hard deadline for all of them, and what is reported.

mod body;
mod deadline;
mod ending;
mod metrics;
mod opaque;
mod replay;
mod settings;
mod tries;
mod way;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use policies::cluster::ClusterIndex;
use policies::resilience::{Admission, RetryPolicy};
use prometheus::Registry;
use tokio::time::Instant;

pub use body::{ForwardBody, ForwardBodyError};
pub use deadline::{ATTEMPT_COUNT, EXPECTED_TIMEOUT, deadline};
pub use opaque::{Opened, Unopened};
pub use replay::{Replay, ReplayError};
pub use settings::{ForwardSettings, RetryConfig};
pub use way::{Told, Way};

use self::metrics::RetryMetrics;
use self::tries::{To, Tries};
use crate::body::RequestBody;
use crate::headers::wants_upgrade;
use crate::local_reply::LocalReply;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::upstream::{Target, Upstreams};

/// What the proxies' upstream side consists of; cheap to clone.
pub struct Forwarder<B> {
    /// The connections.
    pub upstreams: Upstreams<Replay<B>>,
    settings: ForwardSettings,
    retries: RetryMetrics,
}

impl<B> fmt::Debug for Forwarder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("upstreams", &self.upstreams)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<B: RequestBody> fmt::Debug for Forwarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded")
            .field("result", &self.result)
            .field("outcome", &self.outcome)
            .finish()
    }
}

impl<B> Clone for Forwarder<B> {
    fn clone(&self) -> Self {
        Self {
            upstreams: self.upstreams.clone(),
            settings: self.settings,
            retries: self.retries.clone(),
        }
    }
}

/// What became of a request, for the log and the metrics.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Position in [`Cluster::endpoints`](policies::cluster::Cluster::endpoints) of the endpoint that answered or was tried last.
    pub endpoint: Option<usize>,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// How often the request was sent.
    pub attempts: u32,
    /// What went wrong, if anything.
    pub flags: ResponseFlags,
    /// What TCP, TLS or HTTP said; for logs, never for clients.
    pub failure: Option<Arc<str>>,
    /// From the first attempt to the response's head.
    pub service_time: Option<Duration>,
}

/// A response, or the local reply that stands for it, and how it came about.
pub struct Forwarded<B: RequestBody> {
    /// The upstream's response, or what to answer instead.
    pub result: Result<Response<ForwardBody<B>>, LocalReply>,
    /// For the log and the metrics.
    pub outcome: Outcome,
}

impl<B: RequestBody> Forwarder<B> {
    /// A forwarder over `upstreams`.
    pub fn new(upstreams: Upstreams<Replay<B>>) -> Self {
        Self {
            upstreams,
            settings: ForwardSettings::default(),
            retries: RetryMetrics::new(),
        }
    }

    /// The same with the process's own settings.
    #[must_use]
    pub fn with(mut self, settings: ForwardSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Shows what becomes of retries as `portcullis_retries_total`.
    ///
    /// # Errors
    /// When a metric of this name is registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.retries.register(registry)
    }

    /// Sends `request` to an endpoint of the way's cluster, and again as its retry policy says.
    ///
    /// Headers are the caller's work ([`crate::headers`]): hop-by-hop headers stripped (upgrades kept), Host
    /// set. The way's deadline bounds the whole exchange: before the response's head it is answered with 504, later
    /// it breaks the body off, also one that drips. Dropping the future or the response's body cancels.
    // Declared `Send` for the same reason as `Upstreams::send`.
    pub fn forward(
        &self,
        snapshot: &Snapshot,
        way: Way<'_>,
        request: Request<B>,
    ) -> impl Future<Output = Forwarded<B>> + Send {
        self.to_cluster(snapshot, way, request)
    }

    async fn to_cluster(
        &self,
        snapshot: &Snapshot,
        way: Way<'_>,
        request: Request<B>,
    ) -> Forwarded<B> {
        let (Some(of), Some(destination), Some(live)) = (
            snapshot.clusters.get(way.cluster),
            snapshot.destination(way.cluster),
            snapshot.live(way.cluster),
        ) else {
            return refused(LocalReply::no_cluster());
        };
        let Ok(admission) = live.admit() else {
            return refused(LocalReply::overflow());
        };
        live.budget().earn(way.retry.asked);
        let tries = Tries {
            via: self,
            to: To::Cluster {
                of,
                destination,
                live,
                resolver: &snapshot.resolver,
            },
            way,
        };
        self.exchange(tries, request, Some(admission)).await
    }

    /// Sends `request` to one given target, as the sidecar's own application, and again as `retry` says. What the
    /// caller counted in `x-envoy-attempt-count` stays.
    pub fn to_target(
        &self,
        target: &Target,
        retry: &RetryPolicy,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Forwarded<B>> + Send {
        self.to_one(target, retry, request, deadline)
    }

    async fn to_one(
        &self,
        target: &Target,
        retry: &RetryPolicy,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> Forwarded<B> {
        let upgrade;
        let target = if wants_upgrade(request.headers()).is_some() {
            upgrade = target.http1();
            &upgrade
        } else {
            target
        };
        let tries = Tries {
            via: self,
            to: To::Target(target),
            way: Way {
                deadline,
                told: Told::Deadline,
                ..Way::new(ClusterIndex::default(), retry)
            },
        };
        self.exchange(tries, request, None).await
    }

    async fn exchange(
        &self,
        tries: Tries<'_, B>,
        request: Request<B>,
        admission: Option<Admission>,
    ) -> Forwarded<B> {
        let mut outcome = Outcome::default();
        let result = tries.run(request, &mut outcome).await;
        if let Err(reply) = &result {
            outcome.flags |= reply.flags;
        }
        let (deadline, idle) = (tries.way.deadline, self.settings.stream_idle);
        let result =
            result.map(|r| r.map(|body| ForwardBody::new(body, deadline, idle, admission)));
        Forwarded { result, outcome }
    }
}

fn refused<B: RequestBody>(reply: LocalReply) -> Forwarded<B> {
    let outcome = Outcome {
        flags: reply.flags,
        ..Outcome::default()
    };
    Forwarded {
        result: Err(reply),
        outcome,
    }
}

#[cfg(test)]
mod tests;
