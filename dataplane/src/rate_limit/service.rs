//! Limits that a service decides: one unary call of Envoy's `RateLimitService` a request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http::header::HeaderValue;
use http_body_util::Full;
use identity::material::MaterialReader;
use policies::rate_limit::{LimitFacts, ServiceLimits};
use policies::resilience::RetryPolicy;
use tokio::time::Instant;

use super::wire::{
    Code, DescriptorStatus, Entry, RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
    SHOULD_RATE_LIMIT,
};
use super::{CounterError, GLOBAL, headers, refusal, unanswered};
use crate::clock;
use crate::ext_authz::HeaderChange;
use crate::forward::{Forwarder, Told, Way};
use crate::grpc;
use crate::local_reply::LocalReply;
use crate::snapshot::Snapshot;
use crate::upstream::{Limits, UpstreamProtocol, Upstreams};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The client of rate limit services.
#[derive(Debug)]
pub(super) struct Services {
    forwarder: Forwarder<Full<Bytes>>,
    /// When it was last warned about a missing answer, in seconds of our clock, from 1.
    warned: AtomicU64,
}

impl Services {
    pub(super) fn new(reader: MaterialReader) -> Self {
        Self {
            forwarder: Forwarder::new(Upstreams::new(reader, Limits::default())),
            warned: AtomicU64::new(0),
        }
    }

    pub(super) fn close_idle(&self) {
        self.forwarder.upstreams.close_idle();
    }

    /// Asks about a request, if a descriptor is about it.
    pub(super) async fn check(
        &self,
        snapshot: &Snapshot,
        limits: &ServiceLimits,
        request: &LimitFacts<'_>,
        changes: &mut Vec<HeaderChange>,
    ) -> Result<(), Box<LocalReply>> {
        let descriptors: Vec<RateLimitDescriptor> = limits
            .descriptors
            .iter()
            .filter_map(|descriptor| descriptor.entries(request))
            .map(described)
            .collect();
        if descriptors.is_empty() {
            return Ok(());
        }
        let answer = match self.ask(snapshot, limits, descriptors).await {
            Ok(answer) => answer,
            Err(error) => {
                limits.counts.count_failed();
                self.warn(limits, &error);
                return if limits.service.deny_on_failure {
                    Err(Box::new(unanswered(limits.service.status_on_error)))
                } else {
                    Ok(())
                };
            }
        };
        let added = answer.response_headers_to_add.iter().filter_map(|header| {
            let name = HeaderName::try_from(header.key.as_str()).ok()?;
            let value = if header.raw_value.is_empty() {
                header.value.as_bytes()
            } else {
                &header.raw_value
            };
            Some((name, HeaderValue::from_bytes(value).ok()?))
        });
        if answer.overall_code() == Code::OverLimit {
            limits.counts.count_refused();
            let mut reply = Box::new(refusal(&limits.response, GLOBAL));
            if limits.response.body.is_none() && !answer.raw_body.is_empty() {
                reply.body = String::from_utf8_lossy(&answer.raw_body)
                    .into_owned()
                    .into();
            }
            reply.headers.extend(added);
            let told = tightest(&answer).map(standing).into_iter().flatten();
            reply
                .headers
                .extend(told.filter_map(HeaderChange::into_pair));
            let over = answer
                .statuses
                .iter()
                .filter(|s| s.code() == Code::OverLimit);
            let wait = over.map(reset).max().unwrap_or_default();
            reply.headers.push(headers::retry_after(wait));
            return Err(reply);
        }
        limits.counts.count_within();
        changes.extend(added.map(|(name, value)| HeaderChange::Append(name, value)));
        if limits.response.rate_limit_headers {
            changes.extend(tightest(&answer).map(standing).into_iter().flatten());
        }
        Ok(())
    }

    async fn ask(
        &self,
        snapshot: &Snapshot,
        limits: &ServiceLimits,
        descriptors: Vec<RateLimitDescriptor>,
    ) -> Result<RateLimitResponse, CounterError> {
        let service = &limits.service;
        let mut known = snapshot.limit_services.iter();
        let known = known.find(|known| {
            known.port == service.port.value
                && known.host == service.host.value
                && *known.namespace == *limits.namespace
        });
        let failed = |error: &dyn std::fmt::Display| CounterError::Service(error.to_string());
        let known = known.ok_or_else(|| failed(&"its service is not declared"))?;
        let question = RateLimitRequest {
            domain: service.domain.clone(),
            descriptors,
            hits_addend: 0,
        };
        let authority = HeaderValue::try_from(&service.host.value).map_err(|e| failed(&e))?;
        let request = grpc::call(SHOULD_RATE_LIMIT, &authority, &question, service.timeout);
        let request = request.map_err(|error| failed(&error))?;
        let deadline = Instant::now().checked_add(service.timeout);
        // A question that may have arrived may have been counted: only what never did is sent again.
        let retry = RetryPolicy::default();
        let way = Way {
            deadline,
            protocol: Some(UpstreamProtocol::Http2),
            told: Told::Nothing,
            ..Way::new(known.cluster, &retry)
        };
        let sent = self.forwarder.forward(snapshot, way, request).await;
        let response = sent.result.map_err(|reply| match sent.outcome.failure {
            Some(failure) => failed(&format_args!("{}: {failure}", reply.details)),
            None => failed(&reply.details),
        })?;
        let answer: RateLimitResponse = grpc::answer(response, LONGEST_ANSWER)
            .await
            .map_err(|error| failed(&error))?;
        match answer.overall_code() {
            Code::Ok | Code::OverLimit => Ok(answer),
            Code::Unknown => Err(failed(&"its answer has no verdict")),
        }
    }

    /// At most once a second, so that an outage does not fill the log.
    fn warn(&self, limits: &ServiceLimits, error: &CounterError) {
        let now = clock::now()
            .since(policies::resilience::Moment::START)
            .as_secs()
            + 1;
        if self.warned.swap(now, Ordering::Relaxed) == now {
            return;
        }
        let text = error.to_string();
        let error = runtime::escape::escape(&text, 256);
        let outcome = if limits.service.deny_on_failure {
            "is refused"
        } else {
            "passes"
        };
        tracing::warn!(service = %limits.service.host, %error, "no answer of a rate limit service; the request {outcome}");
    }
}

fn described(entries: Vec<(String, String)>) -> RateLimitDescriptor {
    let entries = entries.into_iter();
    RateLimitDescriptor {
        entries: entries.map(|(key, value)| Entry { key, value }).collect(),
    }
}

/// The status with the fewest left.
fn tightest(answer: &RateLimitResponse) -> Option<&DescriptorStatus> {
    let limited = answer.statuses.iter();
    let limited = limited.filter(|status| status.current_limit.is_some());
    limited.min_by_key(|status| status.limit_remaining)
}

fn reset(status: &DescriptorStatus) -> Duration {
    let reset = status.duration_until_reset.unwrap_or_default();
    Duration::try_from(reset).unwrap_or_default()
}

fn standing(status: &DescriptorStatus) -> Vec<HeaderChange> {
    let Some(limit) = &status.current_limit else {
        return Vec::new();
    };
    let window = limit.unit().seconds().unwrap_or(1);
    headers::numbers(&headers::Numbers {
        name: &limit.name,
        limit: limit.requests_per_unit,
        quota: limit.requests_per_unit.into(),
        window,
        remaining: status.limit_remaining,
        reset: reset(status),
    })
}
