//! Resilience: which endpoint gets a try, when it is left alone, when a request is sent again, and when nobody may pass.
//!
//! A state machine that is told the time and what happened, and says what next: no I/O, no clock, no randomness of its own.
//! Gateway and sidecar drive it through the same forwarding loop (`dataplane::forward`):
//!
//! 1. [`Live::admit`] lets a request in, or refuses it at once (`http2MaxRequests`).
//! 2. [`Call::begin`] says how long a try may take; [`Live::pick`] names an endpoint; [`Live::begin`] notes that a try
//!    is under way there.
//! 3. [`Try::report`] says how it ended; the endpoint's breaker follows.
//! 4. [`Call::ended`] says whether the request is sent again, and after which pause ([`RetryPolicy`]); the cluster's
//!    [`Budget`] whether there may be one more retry.
//!
//! [`Live`] is made anew with every generation of documents from the [`Cluster`](crate::cluster::Cluster)s, and takes the
//! counters of the generation before with it, so that a reload opens no breaker and closes none.
//! Nothing here takes a lock or allocates on the way of a request.

mod balance;
mod budget;
mod call;
mod deadline;
mod hash_key;
mod health;
mod host;
mod live;
pub(crate) mod locality;
mod moment;
mod outcome;
mod retry;
mod settings;
mod transition;

pub use crate::document::Warmup;
pub use budget::{Budget, Load, RetryLimits, Retrying};
pub use call::{Call, Effect, Ended, Halt, Next, TryTime, Wish};
pub use deadline::{DeadlineScope, as_grpc_timeout, as_millis, expected_timeout, grpc_timeout};
pub use hash_key::{HashKey, KeyHash, KeySource};
pub use health::Health;
pub use host::BreakerState;
pub use live::{Admission, Choice, EndpointState, Live, LiveState, Overflow, Try};
pub use locality::{ISTIO_LOCALITY_LABEL, LOCALITY_LABEL};
pub use moment::Moment;
pub use outcome::TryOutcome;
pub use retry::{Asked, Backoff, Conditions, Jitter, PreviousHosts, Repeats, RetryPolicy};
pub use settings::{Balancer, Detection, Settings};
pub use transition::{Observer, Reason, Transition};
