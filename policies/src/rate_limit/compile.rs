//! From RateLimit documents to the limits of one proxy.

use std::collections::HashMap;
use std::sync::Arc;

use super::limit::Limit;
use super::local::{LocalLimits, Share};
use super::{Descriptor, GlobalLimits, Limits, RateLimits, RedisLimits, ServiceLimits};
use crate::document::rate_limit::{GlobalRateLimit, LimitDirection, LimitRule};
use crate::document::{CompiledRegexes, DocumentSet, RateLimit};
use crate::mesh::Mesh;
use crate::workload::Workload;

pub(super) fn compile(
    documents: &DocumentSet,
    workload: &Workload,
    mesh: &Mesh,
    previous: Option<&RateLimits>,
) -> RateLimits {
    let holds = |document: &&RateLimit| {
        document
            .attachment
            .holds_for(&document.meta, workload, mesh)
    };
    let is_root = |document: &&RateLimit| document.meta.namespace == mesh.root_namespace;
    let all = documents.rate_limits.iter().map(|document| &**document);
    // The mesh's own first, as everywhere.
    let (root, others): (Vec<_>, Vec<_>) = all.filter(holds).partition(is_root);
    let holding: Vec<&RateLimit> = root.into_iter().chain(others).collect();
    let compiler = Compiler {
        regexes: &documents.regexes,
        known: previous.map(known).unwrap_or_default(),
    };
    RateLimits {
        inbound: compiler.limits(&holding, LimitDirection::Inbound),
        outbound: compiler.limits(&holding, LimitDirection::Outbound),
    }
}

/// The limits of the generation before by what they are called.
fn known(previous: &RateLimits) -> HashMap<&str, &Limit> {
    let limits = previous.all().flat_map(|limits| {
        let local = limits.local.iter().flat_map(LocalLimits::limits);
        let global = match &limits.global {
            Some(GlobalLimits::Redis(redis)) => &*redis.limits,
            _ => &[],
        };
        local.chain(global)
    });
    limits.map(|limit| (&*limit.id, limit)).collect()
}

struct Compiler<'a> {
    regexes: &'a CompiledRegexes,
    known: HashMap<&'a str, &'a Limit>,
}

impl Compiler<'_> {
    fn limits(&self, holding: &[&RateLimit], direction: LimitDirection) -> Box<[Limits]> {
        let holding = holding.iter().filter(|found| found.direction == direction);
        // Descriptors without a service are for whatever service is asked (Envoy: all of a route's are sent).
        let global = holding.clone().filter_map(|found| found.global.as_ref());
        let shared: Vec<Descriptor> = global
            .filter(|global| global.service.is_none())
            .flat_map(|global| self.descriptors(global))
            .collect();
        let limits = holding.map(|document| {
            let name = document.meta.qualified();
            Limits {
                local: document.local.as_ref().map(|local| LocalLimits {
                    limits: self.each(&format!("{name}/local"), &local.limits),
                    enabled: Share::new(local.enabled_percent),
                    enforced: Share::new(local.enforced_percent),
                    per_connection: local.per_connection,
                    response: local.response.clone(),
                }),
                global: document
                    .global
                    .as_ref()
                    .and_then(|global| self.global(document, global, &shared)),
                document: name.into(),
            }
        });
        let some = |limits: &Limits| limits.local.is_some() || limits.global.is_some();
        limits.filter(some).collect()
    }

    fn each(&self, name: &str, limits: &[LimitRule]) -> Box<[Limit]> {
        let limits = limits.iter().enumerate().map(|(number, written)| {
            let mut limit = Limit::new(name, number, written, self.regexes);
            if let Some(previous) = self.known.get(&*limit.id) {
                limit.carry(previous);
            }
            limit
        });
        limits.collect()
    }

    fn descriptors(&self, global: &GlobalRateLimit) -> Vec<Descriptor> {
        let descriptors = global.descriptors.iter();
        descriptors
            .map(|found| Descriptor::new(&found.scope, &found.by, self.regexes))
            .collect()
    }

    fn global(
        &self,
        document: &RateLimit,
        global: &GlobalRateLimit,
        shared: &[Descriptor],
    ) -> Option<GlobalLimits> {
        if let Some(redis) = &global.redis {
            let name = document.meta.qualified();
            return Some(GlobalLimits::Redis(RedisLimits {
                redis: redis.clone(),
                limits: self.each(&format!("{name}/global"), &global.limits),
                response: global.response.clone(),
            }));
        }
        let service = global.service.as_ref()?;
        let mut descriptors = self.descriptors(global);
        descriptors.extend_from_slice(shared);
        Some(GlobalLimits::Service(ServiceLimits {
            service: service.clone(),
            namespace: document.meta.namespace.as_str().into(),
            descriptors: descriptors.into(),
            response: global.response.clone(),
            counts: Arc::default(),
        }))
    }
}
