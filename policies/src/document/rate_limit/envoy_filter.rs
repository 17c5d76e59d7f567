//! EnvoyFilter (`networking.istio.io`): the two that limit rates become a RateLimit, any other one is refused.

mod patch;

use std::sync::Arc;

use self::patch::{Patch, Placed};
use super::envoy::LocalFilter;
use super::{
    GlobalDescriptor, GlobalRateLimit, KeySource, LimitDirection, LimitKey, LimitRule, LimitScope,
    LocalRateLimit, RateLimit,
};
use crate::decode::{Cursor, Fields, metadata};
use crate::diagnostic::codes;
use crate::document::selector::WorkloadLabels;
use crate::document::{Attachment, DocumentSet, Kind, Meta, Spanned, TargetRef};

/// What an EnvoyFilter may do.
const RECOGNISED: &str = "recognised are the HTTP filters `envoy.filters.http.local_ratelimit` and `envoy.filters.http.ratelimit`, \
     their `typed_per_filter_config`, and `rate_limits` of virtual hosts and routes; or write a RateLimit of `portcullis.dev/v1`";

/// Reports what is not recognised; always `None`.
fn refuse<T>(cursor: &Cursor<'_>, reason: &str) -> Option<T> {
    let message =
        format!("{reason}: there is no Envoy here to patch, and a filter may protect something");
    cursor.error(
        codes::ENVOY_FILTER_REFUSED,
        message,
        Some(RECOGNISED.to_owned()),
    );
    None
}

/// Reads an EnvoyFilter.
pub(crate) fn envoy_filter(cursor: &Cursor<'_>, set: &mut DocumentSet) {
    let before = cursor.context.findings.errors();
    let document = cursor.fields(|f| {
        for known in ["apiVersion", "status"] {
            f.get(known);
        }
        f.get("kind");
        let meta = metadata(Kind::RateLimit, f)?;
        let subject = format!("EnvoyFilter `{}`", meta.qualified());
        subject.clone_into(&mut cursor.context.subject.borrow_mut());
        let Some(spec) = f.get("spec") else {
            f.missing("spec");
            return None;
        };
        spec.fields(|f| rate_limit(meta, f))
    });
    let clean = cursor.context.findings.errors() == before;
    set.rate_limits
        .extend(document.filter(|_| clean).map(Arc::new));
}

fn rate_limit(meta: Meta, f: &mut Fields<'_>) -> Option<RateLimit> {
    let selector = f
        .optional("workloadSelector")
        .map(|WorkloadLabels(selector)| selector);
    let target_refs: Vec<Spanned<TargetRef>> = f.list("targetRefs");
    f.exclusive(&["workloadSelector", "targetRefs"]);
    f.get("priority");
    let patches = f.non_empty::<Patch>("configPatches")?;
    let direction = patches.first()?.direction;
    if patches.iter().any(|patch| patch.direction != direction) {
        return refuse(
            f.cursor(),
            "patches of inbound and of outbound traffic in one document",
        );
    }
    let mut parts = Parts::default();
    for patch in patches {
        parts.add(patch);
    }
    let (local, global) = parts.assemble(f.cursor())?;
    Some(RateLimit {
        meta,
        attachment: Attachment {
            selector,
            target_refs,
        },
        direction,
        local,
        global,
    })
}

/// What the patches of a document say together.
#[derive(Default)]
struct Parts {
    locals: Vec<(LimitScope, LocalFilter)>,
    services: Vec<(super::RateLimitService, super::LimitResponse)>,
    actions: Vec<(LimitScope, Vec<LimitKey>)>,
}

impl Parts {
    fn add(&mut self, patch: Patch) {
        let scope = patch.scope;
        for placed in patch.placed {
            match placed {
                Placed::Local(mut filter) => {
                    let own = std::mem::take(&mut filter.actions);
                    let own = own.into_iter().map(|by| (scope.clone(), by));
                    self.actions.extend(own);
                    self.locals.push((scope.clone(), *filter));
                }
                Placed::Global(filter) => self.services.push(*filter),
                Placed::Actions(all) => {
                    let all = all.into_iter().map(|by| (scope.clone(), by));
                    self.actions.extend(all);
                }
            }
        }
    }

    fn assemble(
        self,
        cursor: &Cursor<'_>,
    ) -> Option<(Option<LocalRateLimit>, Option<GlobalRateLimit>)> {
        if self.services.len() > 1 {
            return refuse(cursor, "two rate limit services in one document");
        }
        let service = self.services.into_iter().next();
        let has_local = !self.locals.is_empty();
        let local = if has_local {
            local(self.locals, &self.actions, cursor).ok()?
        } else {
            None
        };
        // Without a local filter beside them, descriptors are for the service, which another document may name.
        let descriptors: Vec<GlobalDescriptor> = if service.is_some() || !has_local {
            let all = self.actions.into_iter();
            all.map(|(scope, by)| GlobalDescriptor { scope, by })
                .collect()
        } else {
            Vec::new()
        };
        let (service, response) = match service {
            Some((service, response)) => (Some(service), response),
            None => (None, super::LimitResponse::default()),
        };
        let global = (service.is_some() || !descriptors.is_empty()).then_some(GlobalRateLimit {
            redis: None,
            limits: Vec::new(),
            service,
            descriptors,
            response,
        });
        if local.is_none() && global.is_none() {
            return refuse(cursor, "a rate limit without a token bucket");
        }
        Some((local, global))
    }
}

/// The document is refused, and why has been reported.
struct Refused;

/// Buckets of all local filters; `None` if none has any.
fn local(
    filters: Vec<(LimitScope, LocalFilter)>,
    actions: &[(LimitScope, Vec<LimitKey>)],
    cursor: &Cursor<'_>,
) -> Result<Option<LocalRateLimit>, Refused> {
    let mut found: Option<LocalRateLimit> = None;
    for (scope, filter) in filters {
        let mut limits = Vec::new();
        let mut limit = |by, bucket| {
            limits.push(LimitRule {
                at: cursor.at(),
                path: cursor.path.clone(),
                name: None,
                scope: scope.clone(),
                by,
                bucket,
            });
        };
        for (entries, bucket) in filter.descriptors {
            let keys: Option<Vec<LimitKey>> = entries
                .iter()
                .map(|(key, value)| entry(actions, key, value))
                .collect();
            let Some(keys) = keys else {
                refuse::<()>(cursor, "a descriptor that no action of the document makes");
                return Err(Refused);
            };
            limit(keys, bucket);
        }
        if let Some(bucket) = filter.bucket {
            limit(Vec::new(), bucket);
        }
        if limits.is_empty() {
            continue;
        }
        // A filter without these shares is off in Envoy.
        let next = LocalRateLimit {
            limits,
            enabled_percent: filter.enabled.unwrap_or(0.0),
            enforced_percent: filter.enforced.unwrap_or(0.0),
            per_connection: filter.per_connection,
            response: filter.response,
        };
        match &mut found {
            None => found = Some(next),
            Some(first) => {
                let alike = first
                    .enabled_percent
                    .total_cmp(&next.enabled_percent)
                    .is_eq()
                    && first
                        .enforced_percent
                        .total_cmp(&next.enforced_percent)
                        .is_eq()
                    && first.per_connection == next.per_connection
                    && first.response == next.response;
                if !alike {
                    refuse::<()>(
                        cursor,
                        "two local rate limits that answer differently in one document",
                    );
                    return Err(Refused);
                }
                first.limits.extend(next.limits);
            }
        }
    }
    Ok(found)
}

/// The value that makes a descriptor's entry.
fn entry(actions: &[(LimitScope, Vec<LimitKey>)], key: &str, value: &str) -> Option<LimitKey> {
    let keys = actions.iter().flat_map(|(_, keys)| keys);
    let makes = |found: &&LimitKey| {
        let fixed = match &found.source {
            KeySource::Constant(fixed) | KeySource::Headers { value: fixed, .. } => Some(fixed),
            _ => None,
        };
        found.key == key && fixed.is_none_or(|fixed| value.is_empty() || fixed == value)
    };
    let found = keys.into_iter().find(makes)?;
    Some(LimitKey {
        equals: (!value.is_empty()).then(|| value.to_owned()),
        ..found.clone()
    })
}

/// Envoy's listeners as Istio makes them: `SIDECAR_INBOUND`, `GATEWAY`, `SIDECAR_OUTBOUND`.
fn direction(cursor: &Cursor<'_>) -> Option<LimitDirection> {
    match cursor.text()? {
        "SIDECAR_INBOUND" | "GATEWAY" => Some(LimitDirection::Inbound),
        "SIDECAR_OUTBOUND" => Some(LimitDirection::Outbound),
        "ANY" | "WAYPOINT" => refuse(cursor, "a context that is neither inbound nor outbound"),
        _ => cursor.invalid("one of SIDECAR_INBOUND, SIDECAR_OUTBOUND, GATEWAY"),
    }
}
