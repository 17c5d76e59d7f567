//! What the outside sees of the traffic: metrics with Istio's names, access log lines, response flags.

mod access_log;
mod flags;
mod line_log;
mod metrics;
mod parties;
mod series;
mod tcp;

pub use access_log::{AccessLine, AccessLog, AccessRecord, DryRunNote, TcpRecord};
pub use flags::ResponseFlags;
pub(crate) use line_log::write_json;
pub use line_log::{Line, LineLog, LineLogError, LogTarget};
pub use metrics::{MetricsError, Observation, Reporter, RequestMetrics, RequestProtocol, Security};
pub use parties::{DestinationService, Party, PartyId, ServiceId};
pub use tcp::{TcpConnection, TcpMetrics};
