//! The tries of one request: pick, send, and while the engine says so, once more.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use policies::cluster::Cluster;
use policies::resilience::{
    Call, Choice, Effect, Halt, Live, Next, PreviousHosts, Retrying, TryTime,
};
use tokio::time::{Instant, sleep, timeout};

use super::deadline::tell;
use super::ending::Ending;
use super::metrics::RetryResult;
use super::replay::{Moved, Original, Replay};
use super::{Forwarder, Outcome, Way};
use crate::UpstreamBody;
use crate::body::RequestBody;
use crate::local_reply::LocalReply;
use crate::resolve::Resolver;
use crate::snapshot::{Asked, Destination};
use crate::telemetry::ResponseFlags;
use crate::upstream::{Target, UpstreamError, UpstreamErrorKind};
use crate::{clock, random};

/// The longest part of an answer that nobody wants that is read, so that its connection can serve again.
const LEFTOVER: usize = 64 * 1024;

/// Where the tries of a request may go.
pub(super) enum To<'a> {
    /// To the endpoints of a cluster, as the engine picks them.
    Cluster {
        of: &'a Cluster,
        destination: &'a Destination,
        live: &'a Arc<Live>,
        resolver: &'a Resolver,
    },
    /// To one address.
    Target(&'a Target),
}

/// A request on its way.
pub(super) struct Tries<'a, B: RequestBody> {
    pub(super) via: &'a Forwarder<B>,
    pub(super) to: To<'a>,
    pub(super) way: Way<'a>,
}

type Answer<B> = Result<Response<UpstreamBody<Replay<B>>>, LocalReply>;

impl<B: RequestBody> Tries<'_, B> {
    pub(super) async fn run(&self, request: Request<B>, outcome: &mut Outcome) -> Answer<B> {
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        let keyed = head.headers.contains_key("idempotency-key");
        let effect = Effect::of(head.method.as_str(), keyed);
        let deadline = self.way.deadline.map(clock::moment_of);
        let mut call = Call::new(self.way.retry, effect, deadline);
        let mut body = Original::new(body, self.via.settings.keep(self.way.retry));
        let mut tried: Vec<usize> = Vec::new();
        let mut retrying: Option<Retrying> = None;
        loop {
            let Some(time) = call.begin(clock::now()) else {
                return Err(LocalReply::timeout());
            };
            let Some(position) = self.pick(&tried) else {
                return Err(LocalReply::no_healthy_upstream());
            };
            let Some(next) = body.next() else {
                // What cannot be sent once more is never begun again.
                return Err(LocalReply::upstream(UpstreamErrorKind::Upload));
            };
            outcome.attempts = call.tries();
            outcome.endpoint = self.endpoint(position);
            let mut parts = head.clone();
            tell(&mut parts.headers, self.way.told, call.tries(), time);
            let request = Request::from_parts(parts, next);
            let at = self.live().map(|live| live.begin(position, clock::now()));
            let mut ending = self
                .attempt(position, request, body.moved(), time, outcome)
                .await;
            take_back(&mut ending, &mut body);
            let told = ending.told(body.is_whole());
            let now = clock::now();
            if let Some(at) = at {
                at.report(told.outcome, now);
            }
            drop(retrying.take());
            if self.is_hopeless(&ending) {
                return ending.result();
            }
            let pause = match call.ended(&told, now, random::number()) {
                Next::Replay => {
                    self.count(RetryResult::Replayed);
                    Duration::ZERO
                }
                Next::Retry(pause) => {
                    if let Some(live) = self.live() {
                        let leave = live.budget().retry(ending.load(), live.active());
                        let Some(leave) = leave else {
                            self.count(RetryResult::Budget);
                            outcome.flags |= ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
                            return done(ending, &body, begun, outcome);
                        };
                        retrying = Some(leave);
                    }
                    self.count(RetryResult::Retried);
                    pause
                }
                Next::Done(halt) => {
                    self.finished(halt, &call, &ending);
                    if halt == Halt::Exhausted {
                        outcome.flags |= ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
                    }
                    return done(ending, &body, begun, outcome);
                }
            };
            if self.way.retry.previous_hosts == PreviousHosts::Avoided {
                tried.push(position);
            }
            wait(pause, ending).await;
        }
    }

    /// One try, up to the head of its response. Cut, it ends its own stream and nobody else's.
    async fn attempt(
        &self,
        position: usize,
        request: Request<Replay<B>>,
        moved: Moved,
        time: TryTime,
        outcome: &mut Outcome,
    ) -> Ending<B> {
        let sending = self.send(position, request, outcome);
        let sent = async {
            match time.shortest() {
                Some(limit) => timeout(limit, sending).await.map_err(|_| {
                    if time.per_try.is_some() {
                        Ending::PerTryTimeout
                    } else {
                        Ending::Deadline
                    }
                }),
                None => Ok(sending.await),
            }
        };
        let sent = match self.via.settings.stream_idle {
            None => sent.await,
            Some(idle) => {
                tokio::select! {
                    biased;
                    sent = sent => sent,
                    () = stalled(idle, &moved) => Err(Ending::Idle),
                }
            }
        };
        match sent {
            Ok(Ok(response)) => Ending::Answer(response),
            Ok(Err(error)) => {
                outcome.failure = Some(Arc::clone(&error.cause));
                Ending::Failure(error)
            }
            Err(cut) => cut,
        }
    }

    async fn send(
        &self,
        position: usize,
        request: Request<Replay<B>>,
        outcome: &mut Outcome,
    ) -> Result<Response<UpstreamBody<Replay<B>>>, UpstreamError<Replay<B>>> {
        let (of, destination, resolver) = match &self.to {
            To::Target(target) => {
                outcome.address = Some(target.address);
                return self.via.upstreams.send(target, request).await;
            }
            To::Cluster {
                of,
                destination,
                resolver,
                ..
            } => (of, destination, resolver),
        };
        let turn = usize::try_from(outcome.attempts).unwrap_or_default();
        let mut asked = Asked::by(of, &request);
        asked.protocol = self.way.protocol.unwrap_or(asked.protocol);
        let target = match destination
            .target(of, position, turn, resolver, &asked)
            .await
        {
            Ok(target) => target,
            Err(error) => return Err(error.into_error(Some(request))),
        };
        outcome.address = Some(target.address);
        self.via.upstreams.send(&target, request).await
    }

    fn pick(&self, tried: &[usize]) -> Option<usize> {
        let To::Cluster { live, .. } = &self.to else {
            return Some(0);
        };
        let choice = Choice {
            tried,
            hash: self.way.hash,
        };
        live.pick(&choice, clock::now(), random::number())
    }

    const fn endpoint(&self, position: usize) -> Option<usize> {
        match self.to {
            To::Cluster { .. } => Some(position),
            To::Target(_) => None,
        }
    }

    const fn live(&self) -> Option<&Arc<Live>> {
        match &self.to {
            To::Cluster { live, .. } => Some(live),
            To::Target(_) => None,
        }
    }

    /// A wrong identity does not become right by asking the same peer again.
    fn is_hopeless(&self, ending: &Ending<B>) -> bool {
        let alone = match &self.to {
            To::Cluster { of, .. } => of.endpoints.len() == 1,
            To::Target(_) => true,
        };
        matches!(ending, Ending::Failure(error) if error.kind == UpstreamErrorKind::Identity)
            && alone
    }

    fn count(&self, result: RetryResult) {
        let service = match &self.to {
            To::Cluster { of, .. } => &*of.service.host,
            To::Target(_) => "",
        };
        self.via.retries.count(service, result);
    }

    fn finished(&self, halt: Halt, call: &Call<'_>, ending: &Ending<B>) {
        let recovered = call.tries() > 1 && matches!(ending, Ending::Answer(_));
        match halt {
            Halt::NotAskedFor if recovered => self.count(RetryResult::Recovered),
            Halt::NotAskedFor => {}
            Halt::Exhausted => self.count(RetryResult::Exhausted),
            Halt::Effect => self.count(RetryResult::Effect),
            Halt::Body => self.count(RetryResult::Body),
            Halt::Deadline => self.count(RetryResult::Deadline),
            Halt::Refused => self.count(RetryResult::Refused),
        }
    }
}

/// How the last try ended is what the client gets.
fn done<B: RequestBody>(
    ending: Ending<B>,
    body: &Original<B>,
    begun: Instant,
    outcome: &mut Outcome,
) -> Answer<B> {
    body.release();
    let result = ending.result();
    if result.is_ok() {
        outcome.service_time = Some(begun.elapsed());
    }
    result
}

/// A request of which nothing was sent gives its body back.
fn take_back<B: RequestBody>(ending: &mut Ending<B>, body: &mut Original<B>) {
    if let Ending::Failure(error) = ending
        && let Some(unsent) = &mut error.request
    {
        let unsent = std::mem::replace(unsent.body_mut(), Replay::empty());
        body.unsent(unsent);
    }
}

/// Waits. What is left of a short answer is read meanwhile, so that its connection can serve again.
async fn wait<B: RequestBody>(pause: Duration, ending: Ending<B>) {
    let pause = sleep(pause);
    tokio::pin!(pause);
    if let Ending::Answer(response) = ending {
        tokio::select! {
            biased;
            () = read_out(response.into_body()) => {}
            () = &mut pause => return,
        }
    }
    pause.await;
}

async fn read_out<B: RequestBody>(mut body: UpstreamBody<Replay<B>>) {
    let mut left = LEFTOVER;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, bytes::Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Ends when no byte of the request has gone out for so long.
async fn stalled(idle: Duration, body: &Moved) {
    let mut moved = body.so_far();
    loop {
        sleep(idle).await;
        let now = body.so_far();
        if now == moved {
            return;
        }
        moved = now;
    }
}
