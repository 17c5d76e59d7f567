//! When a route's requests are sent again: its `retries`, else the mesh's default, else Istio's; and what the
//! VirtualService's annotations add.

use crate::document::{HttpRetry, RouteAnnotations};
use crate::resilience::{Asked, Backoff, Conditions, PreviousHosts, RetryPolicy};

/// Compiles a route's policy. `stated` is what the route says, `of_mesh` the mesh's `defaultHttpRetryPolicy`.
pub(super) fn compile(
    stated: Option<&HttpRetry>,
    of_mesh: Option<&HttpRetry>,
    annotations: RouteAnnotations,
) -> RetryPolicy {
    let mut policy = match stated.or(of_mesh) {
        Some(retry) => documented(retry),
        None => RetryPolicy::default(),
    };
    policy.repeats = annotations.repeats;
    policy.backoff.jitter = annotations.jitter;
    policy
}

fn documented(retry: &HttpRetry) -> RetryPolicy {
    let default = RetryPolicy::default();
    RetryPolicy {
        attempts: retry.attempts,
        on: if retry.retry_on.is_empty() {
            default.on
        } else {
            Conditions::new(&retry.retry_on)
        },
        per_try_timeout: retry.per_try_timeout,
        backoff: Backoff {
            base: retry.backoff.unwrap_or(default.backoff.base),
            jitter: default.backoff.jitter,
        },
        repeats: default.repeats,
        previous_hosts: if retry.retry_ignore_previous_hosts == Some(false) {
            PreviousHosts::Welcome
        } else {
            PreviousHosts::Avoided
        },
        asked: Asked::ByDocument,
    }
}
