//! What the outside sees of the traffic: metrics with Istio's names, access log lines, response flags.

mod access_log;
mod flags;
mod metrics;
mod parties;

pub use access_log::{AccessLog, AccessLogError, AccessRecord, AccessTarget, DryRunNote};
pub use flags::ResponseFlags;
pub use metrics::{MetricsError, Observation, Reporter, RequestMetrics, RequestProtocol, Security};
pub use parties::{DestinationService, Party, PartyId, ServiceId};
