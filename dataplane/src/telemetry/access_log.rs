//! The access log: one JSON line per request or TCP connection.

mod record;
mod tcp;

pub use record::{AccessRecord, DryRunNote};
pub use tcp::TcpRecord;

use super::line_log::{Line, LineLog, write_json};

/// The sending end of the access log; cheap to clone.
pub type AccessLog = LineLog<AccessLine>;

/// One line of the access log.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line is a request's, and each is boxed on its way"
)]
pub enum AccessLine {
    /// A request.
    Request(AccessRecord),
    /// A TCP connection.
    Tcp(TcpRecord),
}

impl From<AccessRecord> for AccessLine {
    fn from(record: AccessRecord) -> Self {
        Self::Request(record)
    }
}

impl From<TcpRecord> for AccessLine {
    fn from(record: TcpRecord) -> Self {
        Self::Tcp(record)
    }
}

impl Line for AccessLine {
    const LOG: &'static str = "access log";
    const THREAD: &'static str = "access-log";
    const DROPPED: &'static str = "portcullis_access_log_dropped_total";

    fn write_line(&self, out: &mut Vec<u8>) {
        match self {
            Self::Request(record) => write_json(record, out),
            Self::Tcp(record) => write_json(record, out),
        }
    }
}

#[cfg(test)]
mod tests;
