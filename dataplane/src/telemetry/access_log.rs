//! The access log: one JSON line per request.

mod record;

pub use record::{AccessRecord, DryRunNote};

use super::line_log::{Line, LineLog, write_json};

/// The sending end of the access log; cheap to clone.
pub type AccessLog = LineLog<AccessRecord>;

impl Line for AccessRecord {
    const LOG: &'static str = "access log";
    const THREAD: &'static str = "access-log";
    const DROPPED: &'static str = "portcullis_access_log_dropped_total";

    fn write_line(&self, out: &mut Vec<u8>) {
        write_json(self, out);
    }
}

#[cfg(test)]
mod tests;
