//! Rate limits: whether a request may pass by the number of those before it, for gateway and sidecar alike.
//!
//! What the documents say is compiled into the [`Snapshot`] ([`policies::rate_limit`]); here are the parts with a clock and
//! a network: the process's buckets, Redis, and Envoy's rate limit services.

mod headers;
mod metrics;
mod redis;
mod service;
#[cfg(test)]
mod tests;
pub mod wire;

use std::hash::RandomState;
use std::sync::{Arc, LazyLock};

use ::redis::RedisError;
use http::StatusCode;
use identity::material::MaterialReader;
use policies::document::rate_limit::{LimitDirection, LimitResponse};
use policies::rate_limit::{
    Buckets, Checked, GlobalLimits, Limit, LimitFacts, Limits, RedisLimits, Standing, Took,
};
use prometheus::Registry;

use crate::ext_authz::HeaderChange;
use crate::local_reply::LocalReply;
use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::{clock, random};

use redis::{RedisStores, Taken};
use service::Services;

/// How many keys of local limits a process remembers at once; 16 bytes each.
const KEYS: usize = 64 * 1024;

/// How many documents' tokens a request can give back; those of further ones stay taken, which errs on the safe side.
const HELD: usize = 8;

/// Decides by number. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Made with the first local limit.
    buckets: LazyLock<Buckets>,
    redis: RedisStores,
    services: Services,
}

/// Why whoever counts did not answer; for logs.
#[derive(Debug, thiserror::Error)]
enum CounterError {
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("the password file: {0}")]
    Password(#[from] std::io::Error),
    #[error("{0}")]
    Service(String),
}

impl RateLimiter {
    /// A limiter that proves this workload's identity to services of the mesh with the material of `reader`.
    pub fn new(reader: MaterialReader) -> Self {
        Self(Arc::new(Inner {
            buckets: LazyLock::new(|| Buckets::new(KEYS, RandomState::new())),
            redis: RedisStores::default(),
            services: Services::new(reader),
        }))
    }

    /// Counts as `portcullis_rate_limit_*` what the limits in force in `store` did.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn publish(
        &self,
        store: &PolicyStore,
        registry: &Registry,
    ) -> Result<(), prometheus::Error> {
        metrics::register(self.clone(), store.clone(), registry)
    }

    /// Closes idle connections to services: the process drains.
    pub fn close_idle(&self) {
        self.0.services.close_idle();
    }

    /// Takes a token of every limit that is about a request of this direction; a gateway's requests are inbound. One that
    /// is refused takes none.
    /// What the limits say in the response's headers is added to `changes`.
    ///
    /// Local limits, and global ones whose tokens are at hand, await nothing and allocate nothing but these headers.
    ///
    /// # Errors
    /// The request is over a limit, or must not pass since nobody can tell: what the client gets.
    pub async fn check(
        &self,
        snapshot: &Snapshot,
        direction: LimitDirection,
        request: &LimitFacts<'_>,
        changes: &mut Vec<HeaderChange>,
    ) -> Result<(), Box<LocalReply>> {
        let all = snapshot.rate_limits.of(direction);
        let mut held = Held::default();
        let mut told = Vec::new();
        let checked = self
            .take_all(snapshot, all, request, &mut held, &mut told)
            .await;
        match checked {
            Ok(()) => changes.append(&mut told),
            // A refusal says itself how its limit stands.
            Err(_) => self.give_back(all, request, &held),
        }
        checked
    }

    async fn take_all<'s>(
        &self,
        snapshot: &Snapshot,
        all: &'s [Limits],
        request: &LimitFacts<'_>,
        held: &mut Held<'s>,
        told: &mut Vec<HeaderChange>,
    ) -> Result<(), Box<LocalReply>> {
        for (document, limits) in all.iter().enumerate() {
            let Some(local) = &limits.local else { continue };
            let checked = local.check(request, &self.0.buckets, clock::now(), random::number());
            match checked {
                Checked::Free => {}
                Checked::Within(limit, standing, took) => {
                    if let Some(place) = held.local.get_mut(document) {
                        *place = took;
                    }
                    if local.response().rate_limit_headers {
                        held.tell(limit, standing);
                    }
                }
                Checked::Over(limit, standing) => {
                    return Err(Box::new(over(local.response(), LOCAL, limit, &standing)));
                }
            }
        }
        for (document, limits) in all.iter().enumerate() {
            if let Some(GlobalLimits::Redis(limits)) = &limits.global {
                self.redis(document, limits, request, held).await?;
            }
        }
        if let Some((limit, standing)) = &held.tightest {
            told.extend(headers::standing(limit, standing));
        }
        // At last: what a service has counted nobody can take back.
        for limits in all {
            if let Some(GlobalLimits::Service(limits)) = &limits.global {
                // Boxed: few requests are asked about.
                let services = &self.0.services;
                Box::pin(services.check(snapshot, limits, request, told)).await?;
            }
        }
        Ok(())
    }

    async fn redis<'s>(
        &self,
        document: usize,
        limits: &'s RedisLimits,
        request: &LimitFacts<'_>,
        held: &mut Held<'s>,
    ) -> Result<(), Box<LocalReply>> {
        for (position, limit) in limits.limits.iter().enumerate() {
            let Some(key) = limit.key(request, self.0.redis.hasher()) else {
                continue;
            };
            let store = self.0.redis.of(&limits.redis);
            match store.take(limit, key, request, limits.redis.timeout).await {
                Taken::Yes(standing) => {
                    limit.counts.count_within();
                    if let Some(took) = held.redis.get_mut(document) {
                        took.add(position);
                    }
                    if limits.response.rate_limit_headers {
                        held.tell(limit, standing);
                    }
                }
                Taken::No(standing) => {
                    limit.counts.count_refused();
                    return Err(Box::new(over(&limits.response, GLOBAL, limit, &standing)));
                }
                Taken::Unknown => {
                    limit.counts.count_failed();
                    if limits.redis.deny_on_failure {
                        return Err(Box::new(unanswered(limits.redis.status_on_error)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts back what a refused request took.
    fn give_back(&self, all: &[Limits], request: &LimitFacts<'_>, held: &Held<'_>) {
        let taken = held.local.iter().zip(&held.redis);
        for (limits, (local, redis)) in all.iter().zip(taken) {
            if let Some(limits) = &limits.local {
                limits.give_back(*local, request, &self.0.buckets);
            }
            let Some(GlobalLimits::Redis(limits)) = &limits.global else {
                continue;
            };
            for (position, limit) in limits.limits.iter().enumerate() {
                if redis.has(position)
                    && let Some(key) = limit.key(request, self.0.redis.hasher())
                {
                    self.0.redis.of(&limits.redis).give_back(key);
                }
            }
        }
    }
}

/// What a request has of the limits so far.
#[derive(Debug, Default)]
struct Held<'s> {
    /// Tokens of each document's local limits.
    local: [Took; HELD],
    /// Tokens of each document's limits in Redis.
    redis: [Took; HELD],
    /// The limit with the fewest left, of those that are told.
    tightest: Option<(&'s Limit, Standing)>,
}

impl<'s> Held<'s> {
    fn tell(&mut self, limit: &'s Limit, standing: Standing) {
        let least = self.tightest.as_ref();
        if least.is_none_or(|(_, least)| standing.remaining < least.remaining) {
            self.tightest = Some((limit, standing));
        }
    }
}

/// A limiter without an identity, for tests and for what asks plaintext services only.
impl Default for RateLimiter {
    fn default() -> Self {
        Self::new(identity::material::channel().1)
    }
}

/// What Envoy calls a refusal of its filters: the response code details, and the body unless the document has one.
type Kind = (&'static str, &'static str);

const LOCAL: Kind = ("local_rate_limited", "local_rate_limited");
const GLOBAL: Kind = ("request_rate_limited", "");

/// The answer to a request over a limit.
fn over(response: &LimitResponse, kind: Kind, limit: &Limit, standing: &Standing) -> LocalReply {
    let mut reply = refusal(response, kind);
    let told = headers::standing(limit, standing).into_iter();
    reply
        .headers
        .extend(told.filter_map(HeaderChange::into_pair));
    reply
        .headers
        .push(headers::retry_after(standing.retry_after));
    reply
}

/// The same without numbers.
fn refusal(response: &LimitResponse, (details, body): Kind) -> LocalReply {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut reply = LocalReply::new(status, body, ResponseFlags::RATE_LIMITED, details);
    if let Some(text) = &response.body {
        reply.body = text.clone().into();
    }
    reply.headers.push(headers::limited());
    reply.headers.extend(headers::written(&response.headers));
    reply
}

/// The answer while nobody can tell.
fn unanswered(status: u16) -> LocalReply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    LocalReply::new(
        status,
        "",
        ResponseFlags::RATE_LIMIT_SERVICE_ERROR,
        "rate_limiter_error",
    )
}
