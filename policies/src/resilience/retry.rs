//! When a request is sent again.

use std::time::Duration;

/// A route's retry policy, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How often a request is sent again after the first try (`attempts`).
    pub attempts: u32,
    /// How long one try may take to the response's head (`perTryTimeout`).
    pub per_try_timeout: Option<Duration>,
    /// The base of the pauses (`backoff`): 25 ms.
    pub base: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 2,
            per_try_timeout: None,
            base: Duration::from_millis(25),
        }
    }
}
