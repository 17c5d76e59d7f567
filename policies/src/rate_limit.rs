//! Rate limits: how many requests pass, for whom.
//!
//! Pure, as [`resilience`](crate::resilience) is: the time and random numbers are arguments. [`RateLimits`] is compiled with
//! every generation of documents for one proxy; what was counted lives on, so that a reload fills no bucket.
//!
//! A `local` limit is a token bucket in this process, or one for each value of a key ([`Buckets`]). A `global` limit is
//! counted elsewhere: this module says what to ask, and [`Lease`] how tokens that were taken in advance are handed out.
//! Nothing here allocates on the way of a request.

mod buckets;
mod compile;
mod facts;
mod key;
mod lease;
mod limit;
mod local;
mod matching;
mod path_template;
mod rate;

use std::sync::Arc;

pub use buckets::{Bucket, Buckets};
pub use facts::LimitFacts;
pub use lease::{Ask, Lease, Settled, Step, Unused};
pub use limit::{Counts, Limit};
pub use local::{Checked, LocalLimits, Took};
pub use path_template::{PathTemplate, PathTemplateError};
pub use rate::{Fill, Rate, Standing};

use crate::document::rate_limit::{
    LimitDirection, LimitResponse, LimitScope, RateLimitService, RedisCounter,
};
use crate::document::{CompiledRegexes, DocumentSet};
use crate::mesh::Mesh;
use crate::workload::Workload;

/// The limits that hold for one workload.
#[derive(Debug, Default)]
pub struct RateLimits {
    inbound: Box<[Limits]>,
    outbound: Box<[Limits]>,
}

/// The limits of one document.
#[derive(Debug)]
pub struct Limits {
    /// `namespace/name` of the document.
    pub document: Arc<str>,
    /// What this process counts.
    pub local: Option<LocalLimits>,
    /// What is counted elsewhere.
    pub global: Option<GlobalLimits>,
}

/// Limits that several processes have together.
#[derive(Debug)]
pub enum GlobalLimits {
    /// Counted in Redis.
    Redis(RedisLimits),
    /// Decided by a service.
    Service(ServiceLimits),
}

/// Limits that are counted in Redis.
#[derive(Debug)]
pub struct RedisLimits {
    /// Which Redis, and what holds without it.
    pub redis: RedisCounter,
    /// A request needs a token of each that is about it.
    pub limits: Box<[Limit]>,
    /// The answer to a request over a limit.
    pub response: LimitResponse,
}

/// Limits that a service of Envoy's `RateLimitService` decides.
#[derive(Debug)]
pub struct ServiceLimits {
    /// Which service, and what holds without it.
    pub service: RateLimitService,
    /// The namespace in which its host is meant.
    pub namespace: Arc<str>,
    /// What it is asked.
    pub descriptors: Box<[Descriptor]>,
    /// The answer to a request over a limit.
    pub response: LimitResponse,
    /// What became of requests.
    pub counts: Arc<Counts>,
}

/// One descriptor of a question to a service.
#[derive(Clone, Debug)]
pub struct Descriptor {
    scope: matching::Scope,
    by: Box<[key::Key]>,
}

impl Descriptor {
    fn new(
        scope: &LimitScope,
        by: &[crate::document::rate_limit::LimitKey],
        regexes: &CompiledRegexes,
    ) -> Self {
        Self {
            scope: matching::Scope::new(scope, regexes),
            by: by.iter().map(|key| key::Key::new(key, regexes)).collect(),
        }
    }

    /// The entries, each with its key, in order; none if it is not about this request. Entries without a value are left
    /// out, as in Envoy; bytes that are not UTF-8 are replaced.
    pub fn entries(&self, facts: &LimitFacts<'_>) -> Option<Vec<(String, String)>> {
        if !self.scope.matches(facts) {
            return None;
        }
        let mut entries = Vec::with_capacity(self.by.len());
        for key in &self.by {
            let counted = key.value(facts, |value| {
                if !value.is_empty() {
                    let value = String::from_utf8_lossy(value).into_owned();
                    entries.push((key.name.to_string(), value));
                }
            });
            if !counted {
                return None;
            }
        }
        (!entries.is_empty()).then_some(entries)
    }
}

impl RateLimits {
    /// Compiles the limits of the root namespace and of the workload's own that hold for it. What `previous` counted goes
    /// on, as far as a limit of that name has the same numbers.
    pub fn compile(
        documents: &DocumentSet,
        workload: &Workload,
        mesh: &Mesh,
        previous: Option<&Self>,
    ) -> Self {
        compile::compile(documents, workload, mesh, previous)
    }

    /// The limits of one direction, the mesh's own first. A gateway's requests are inbound.
    pub fn of(&self, direction: LimitDirection) -> &[Limits] {
        match direction {
            LimitDirection::Inbound => &self.inbound,
            LimitDirection::Outbound => &self.outbound,
        }
    }

    /// Every document's limits.
    pub fn all(&self) -> impl Iterator<Item = &Limits> {
        self.inbound.iter().chain(&self.outbound)
    }

    /// Whether there is no limit at all.
    pub fn is_empty(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty()
    }
}

impl Limits {
    /// Each limit's name and counts.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &Counts)> {
        let local = self.local.iter().flat_map(LocalLimits::limits);
        let (redis, service) = match &self.global {
            Some(GlobalLimits::Redis(redis)) => (Some(redis), None),
            Some(GlobalLimits::Service(service)) => (None, Some(service)),
            None => (None, None),
        };
        let limits = local.chain(redis.into_iter().flat_map(|redis| &redis.limits));
        let counts = limits.map(|limit| (&*limit.name, &*limit.counts));
        counts.chain(service.map(|service| ("service", &*service.counts)))
    }
}
