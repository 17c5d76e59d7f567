//! The endpoint loop for one routed request: pick, send, on a failed connect the next endpoint, one hard deadline.

mod body;
mod opaque;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use policies::cluster::{Cluster, ClusterIndex};
use policies::resilience::{Choice, Live};
use tokio::time::{Instant, Sleep};

pub use body::{ForwardBody, ForwardBodyError};
pub use opaque::{Opened, Unopened};

use crate::body::RequestBody;
use crate::headers::wants_upgrade;
use crate::local_reply::LocalReply;
use crate::resolve::Resolver;
use crate::snapshot::{Asked, Destination, Snapshot};
use crate::telemetry::ResponseFlags;
use crate::upstream::{Target, UpstreamError, UpstreamErrorKind, UpstreamProtocol, Upstreams};
use crate::{clock, random};

/// How often another endpoint is tried after a failed connect (Istio's default `attempts`).
const CONNECT_RETRIES: u32 = 2;
/// Base of the wait before the same endpoint is tried again (Envoy's retry back-off base).
const BACKOFF: Duration = Duration::from_millis(25);

/// What the proxies' upstream side consists of; cheap to clone.
pub struct Forwarder<B> {
    /// The connections.
    pub upstreams: Upstreams<B>,
}

impl<B> fmt::Debug for Forwarder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder")
            .field("upstreams", &self.upstreams)
            .finish()
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
        }
    }
}

/// What became of a request, for the log and the metrics.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Position in [`Cluster::endpoints`] of the endpoint that answered or was tried last.
    pub endpoint: Option<usize>,
    /// Its address.
    pub address: Option<SocketAddr>,
    /// How many endpoints were tried.
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
    pub fn new(upstreams: Upstreams<B>) -> Self {
        Self { upstreams }
    }

    /// Sends `request` to an endpoint of `cluster`.
    ///
    /// Headers are the caller's work ([`crate::headers`]): hop-by-hop headers stripped (upgrades kept), Host
    /// set. `deadline` bounds the whole exchange: before the response's head it is answered with 504, later
    /// it breaks the body off, also one that drips. Dropping the future or the response's body cancels.
    // Declared `Send` for the same reason as `Upstreams::send`.
    pub fn forward(
        &self,
        snapshot: &Snapshot,
        cluster: ClusterIndex,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Forwarded<B>> + Send {
        self.to_cluster(snapshot, cluster, request, deadline, None)
    }

    /// As [`forward`](Self::forward); `protocol` is spoken whatever the documents say about the port.
    pub(crate) fn forward_as(
        &self,
        snapshot: &Snapshot,
        cluster: ClusterIndex,
        request: Request<B>,
        deadline: Option<Instant>,
        protocol: Option<UpstreamProtocol>,
    ) -> impl Future<Output = Forwarded<B>> + Send {
        self.to_cluster(snapshot, cluster, request, deadline, protocol)
    }

    async fn to_cluster(
        &self,
        snapshot: &Snapshot,
        cluster: ClusterIndex,
        request: Request<B>,
        deadline: Option<Instant>,
        protocol: Option<UpstreamProtocol>,
    ) -> Forwarded<B> {
        let (Some(of), Some(destination), Some(live)) = (
            snapshot.clusters.get(cluster),
            snapshot.destination(cluster),
            snapshot.live(cluster),
        ) else {
            return refused(LocalReply::no_cluster());
        };
        let mut outcome = Outcome::default();
        let pick = |tried: &[usize]| pick(live, tried);
        let call = Attempts {
            of,
            destination,
            resolver: &snapshot.resolver,
            protocol,
        };
        let exchange = call.run(self, pick, request, &mut outcome);
        bounded(deadline, exchange).await.finish(outcome)
    }

    /// Sends `request` to one given target, as the sidecar's own application.
    pub fn to_target(
        &self,
        target: &Target,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Forwarded<B>> + Send {
        self.to_one(target, request, deadline)
    }

    async fn to_one(
        &self,
        target: &Target,
        request: Request<B>,
        deadline: Option<Instant>,
    ) -> Forwarded<B> {
        let mut outcome = Outcome {
            address: Some(target.address),
            attempts: 1,
            ..Outcome::default()
        };
        let exchange = async {
            let begun = Instant::now();
            let sent = if wants_upgrade(request.headers()).is_some() {
                self.upstreams.send(&target.http1(), request).await
            } else {
                self.upstreams.send(target, request).await
            };
            sent.map_err(|error| {
                outcome.failure = Some(Arc::clone(&error.cause));
                LocalReply::upstream(error.kind)
            })
            .inspect(|_| outcome.service_time = Some(begun.elapsed()))
        };
        bounded(deadline, exchange).await.finish(outcome)
    }
}

/// The outcome of an exchange under a deadline; the timer goes on to guard the body.
struct Bounded<B: RequestBody> {
    result: Result<Response<crate::UpstreamBody<B>>, LocalReply>,
    timer: Option<std::pin::Pin<Box<Sleep>>>,
}

async fn bounded<B: RequestBody>(
    deadline: Option<Instant>,
    exchange: impl Future<Output = Result<Response<crate::UpstreamBody<B>>, LocalReply>>,
) -> Bounded<B> {
    let Some(deadline) = deadline else {
        return Bounded {
            result: exchange.await,
            timer: None,
        };
    };
    let mut timer = Box::pin(tokio::time::sleep_until(deadline));
    let result = tokio::select! {
        biased;
        result = exchange => result,
        () = &mut timer => Err(LocalReply::timeout()),
    };
    Bounded {
        result,
        timer: Some(timer),
    }
}

impl<B: RequestBody> Bounded<B> {
    fn finish(self, mut outcome: Outcome) -> Forwarded<B> {
        let timer = self.timer;
        if let Err(reply) = &self.result {
            outcome.flags |= reply.flags;
        }
        let result = self
            .result
            .map(|r| r.map(|body| ForwardBody::new(body, timer)));
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

/// The tries of one request.
struct Attempts<'a> {
    of: &'a Cluster,
    destination: &'a Destination,
    resolver: &'a Resolver,
    /// What is spoken whatever the documents say.
    protocol: Option<UpstreamProtocol>,
}

impl Attempts<'_> {
    async fn run<B: RequestBody>(
        &self,
        via: &Forwarder<B>,
        pick: impl Fn(&[usize]) -> Option<usize>,
        mut request: Request<B>,
        outcome: &mut Outcome,
    ) -> Result<Response<crate::UpstreamBody<B>>, LocalReply> {
        let begun = Instant::now();
        let mut tried: Vec<usize> = Vec::new();
        loop {
            let Some(position) = pick(&tried) else {
                return Err(LocalReply::no_healthy_upstream());
            };
            let again = tried.contains(&position);
            if again {
                tokio::time::sleep(backoff(outcome.attempts)).await;
            }
            outcome.attempts += 1;
            outcome.endpoint = Some(position);
            match self.attempt(via, position, request, outcome).await {
                Ok(response) => {
                    outcome.service_time = Some(begun.elapsed());
                    return Ok(response);
                }
                Err(error) => {
                    outcome.failure = Some(Arc::clone(&error.cause));
                    let alone = self.of.endpoints.len() == 1;
                    // A wrong identity does not become right by asking the same peer again.
                    let hopeless = alone && error.kind == UpstreamErrorKind::Identity;
                    let reply = LocalReply::upstream(error.kind);
                    let Some(unsent) = error.request.filter(|_| {
                        error.kind.is_connect_failure()
                            && !hopeless
                            && outcome.attempts <= CONNECT_RETRIES
                    }) else {
                        if outcome.attempts > CONNECT_RETRIES {
                            outcome.flags |= ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
                        }
                        return Err(reply);
                    };
                    request = *unsent;
                    tried.push(position);
                }
            }
        }
    }

    async fn attempt<B: RequestBody>(
        &self,
        via: &Forwarder<B>,
        position: usize,
        request: Request<B>,
        outcome: &mut Outcome,
    ) -> Result<Response<crate::UpstreamBody<B>>, UpstreamError<B>> {
        let turn = usize::try_from(outcome.attempts).unwrap_or_default();
        let mut asked = Asked::by(self.of, &request);
        asked.protocol = self.protocol.unwrap_or(asked.protocol);
        let (of, to) = (self.of, self.destination);
        let target = match to.target(of, position, turn, self.resolver, &asked).await {
            Ok(target) => target,
            Err(error) => return Err(error.into_error(Some(request))),
        };
        outcome.address = Some(target.address);
        via.upstreams.send(&target, request).await
    }
}

/// The endpoint for the next try.
fn pick(live: &Live, tried: &[usize]) -> Option<usize> {
    let choice = Choice { tried, hash: None };
    live.pick(&choice, clock::now(), random::number())
}

/// Fully jittered, growing: random below (2^n − 1) × base (istio-semantics 4.4).
fn backoff(attempts: u32) -> Duration {
    let ceiling = BACKOFF * 2_u32.saturating_pow(attempts).saturating_sub(1).min(10);
    let ceiling = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random::number().checked_rem(ceiling).unwrap_or(0))
}

#[cfg(test)]
mod tests;
