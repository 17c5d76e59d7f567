//! Failures on purpose, before anything is sent: retries and timeouts do not see them.

use std::time::Duration;

use http::StatusCode;
use policies::document::AbortStatus;
use policies::route::Fault;

use crate::local_reply::{GrpcStatus, LocalReply};
use crate::telemetry::ResponseFlags;

/// What a fault did to a request.
#[derive(Debug, Default)]
pub(super) struct Suffered {
    /// How long it was held up.
    pub(super) delay: Duration,
    /// What the log shows of the delay.
    pub(super) flags: ResponseFlags,
    /// The answer of an aborted request.
    pub(super) abort: Option<LocalReply>,
}

/// Holds a request up, and fails it afterwards, if it is drawn. `draw` gives the numbers.
pub(super) async fn suffer(fault: &Fault, mut draw: impl FnMut() -> u64) -> Suffered {
    let mut suffered = Suffered::default();
    if let Some(delay) = fault.delay(draw()) {
        suffered.delay = delay;
        suffered.flags |= ResponseFlags::DELAY_INJECTED;
        tokio::time::sleep(delay).await;
    }
    suffered.abort = fault.abort(draw()).map(abort);
    suffered
}

/// Envoy's answer to an aborted request.
fn abort(status: AbortStatus) -> LocalReply {
    let (status, grpc) = match status {
        AbortStatus::Http(status) => (
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            None,
        ),
        AbortStatus::Grpc(code) => {
            let grpc = GrpcStatus::new(code.0.into());
            (grpc.as_http(), Some(grpc))
        }
    };
    LocalReply {
        grpc,
        ..LocalReply::new(
            status,
            "fault filter abort",
            ResponseFlags::FAULT_INJECTED,
            "fault_filter_abort",
        )
    }
}
