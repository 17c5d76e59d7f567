//! The endpoint loop for one TCP connection: pick, connect, on a failed connect the next endpoint.

use std::sync::Arc;
use std::time::Instant;

use policies::cluster::ClusterIndex;
use policies::resilience::{Backoff, Choice};

use super::{Forwarder, Outcome};
use crate::body::RequestBody;
use crate::snapshot::{Asked, Snapshot};
use crate::telemetry::ResponseFlags;
use crate::upstream::{DialError, OpaqueStream, UpstreamErrorKind};
use crate::{clock, random};

/// How often another endpoint is tried after a failed connect (Istio's default `attempts`).
const CONNECT_RETRIES: u32 = 2;

/// A connection to an endpoint, or why there is none, and how it came about.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub result: Result<OpaqueStream, Unopened>,
    /// For the log and the metrics; `service_time` is the time to connect.
    pub outcome: Outcome,
}

/// Why no endpoint of a cluster took a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unopened {
    /// The generation has no such cluster.
    #[error("no such cluster")]
    NoCluster,
    /// The cluster has no endpoint.
    #[error("the service has no endpoint")]
    NoEndpoint,
    /// The last endpoint that was tried.
    #[error(transparent)]
    Dial(#[from] DialError),
}

impl Unopened {
    /// The response flag that the access log and the metrics show.
    pub const fn flags(&self) -> ResponseFlags {
        match self {
            Self::NoCluster => ResponseFlags::NO_CLUSTER_FOUND,
            Self::NoEndpoint => ResponseFlags::NO_HEALTHY_UPSTREAM,
            Self::Dial(error) => error.kind.flags(),
        }
    }
}

impl<B: RequestBody> Forwarder<B> {
    /// Opens a connection to an endpoint of `cluster`, for bytes as they are.
    pub async fn open(&self, snapshot: &Snapshot, cluster: ClusterIndex) -> Opened {
        let mut outcome = Outcome::default();
        let result = self.try_endpoints(snapshot, cluster, &mut outcome).await;
        if let Err(error) = &result {
            outcome.flags |= error.flags();
            if outcome.attempts > CONNECT_RETRIES {
                outcome.flags |= ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
            }
        }
        Opened { result, outcome }
    }

    async fn try_endpoints(
        &self,
        snapshot: &Snapshot,
        cluster: ClusterIndex,
        outcome: &mut Outcome,
    ) -> Result<OpaqueStream, Unopened> {
        let (Some(of), Some(destination), Some(live)) = (
            snapshot.clusters.get(cluster),
            snapshot.destination(cluster),
            snapshot.live(cluster),
        ) else {
            return Err(Unopened::NoCluster);
        };
        let begun = Instant::now();
        let mut tried: Vec<usize> = Vec::new();
        loop {
            let choice = Choice {
                tried: &tried,
                hash: None,
            };
            let picked = live.pick(&choice, clock::now(), random::number());
            let Some(position) = picked else {
                return Err(Unopened::NoEndpoint);
            };
            if tried.contains(&position) {
                let pause = Backoff::default().pause(outcome.attempts, random::number());
                tokio::time::sleep(pause).await;
            }
            outcome.attempts += 1;
            outcome.endpoint = Some(position);
            let turn = usize::try_from(outcome.attempts).unwrap_or_default();
            let (resolver, asked) = (&snapshot.resolver, Asked::opaque());
            let target = destination.target(of, position, turn, resolver, &asked);
            let dialled = match target.await {
                Ok(target) => {
                    outcome.address = Some(target.address);
                    self.upstreams.connect(&target).await
                }
                Err(error) => Err(error),
            };
            let error = match dialled {
                Ok(stream) => {
                    outcome.service_time = Some(begun.elapsed());
                    return Ok(stream);
                }
                Err(error) => error,
            };
            outcome.failure = Some(Arc::clone(&error.cause));
            // A wrong identity does not become right by asking the same peer again.
            let hopeless = of.endpoints.len() == 1 && error.kind == UpstreamErrorKind::Identity;
            if hopeless || !error.kind.is_connect_failure() || outcome.attempts > CONNECT_RETRIES {
                return Err(error.into());
            }
            tried.push(position);
        }
    }
}
