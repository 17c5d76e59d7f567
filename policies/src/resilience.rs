//! Resilience: which endpoint gets a try, when it is left alone, when a request is sent again, and when nobody may pass.
//!
//! A state machine that is told the time and what happened, and says what next: no I/O, no clock, no randomness of its own.
//! Gateway and sidecar drive it through the same forwarding loop (`dataplane::forward`):
//!
//! 1. [`Live::admit`] lets a request in, or refuses it at once (`http2MaxRequests`).
//! 2. [`Live::pick`] names an endpoint; [`Live::begin`] notes that a try is under way there.
//! 3. [`Try::report`] says how it ended; the endpoint's breaker follows.
//! 4. [`RetryPolicy`] says whether the request is sent again, and after which pause.
//!
//! [`Live`] is made anew with every generation of documents from the [`Cluster`](crate::cluster::Cluster)s, and takes the
//! counters of the generation before with it, so that a reload opens no breaker and closes none.
//! Nothing here takes a lock or allocates on the way of a request.

mod balance;
mod hash_key;
mod host;
mod live;
pub(crate) mod locality;
mod moment;
mod outcome;
mod retry;
mod settings;
mod transition;

pub use crate::document::Warmup;
pub use hash_key::{HashKey, KeyHash, KeySource};
pub use host::BreakerState;
pub use live::{Admission, Choice, EndpointState, Live, LiveState, Overflow, Try};
pub use locality::{ISTIO_LOCALITY_LABEL, LOCALITY_LABEL};
pub use moment::Moment;
pub use outcome::TryOutcome;
pub use retry::RetryPolicy;
pub use settings::{Balancer, Detection, Settings};
pub use transition::{Observer, Reason, Transition};
