//! Istio's `HTTPFaultInjection`: failures on purpose.

use std::time::Duration;

use super::action::Status;
use crate::decode::{Cursor, Decode, Fields, Percent, WholePercent};
use crate::diagnostic::codes;

/// The smallest share that is not nothing, in percent.
const SMALLEST_SHARE: f64 = 0.0001;

/// Istio's `HTTPFaultInjection`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFault {
    /// `delay`.
    pub delay: Option<FaultDelay>,
    /// `abort`.
    pub abort: Option<FaultAbort>,
}

/// Istio's `HTTPFaultInjection.Delay`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultDelay {
    /// `fixedDelay`; none delays nothing.
    pub fixed: Option<Duration>,
    /// `percentage.value`, or `percent`; 0 if not given.
    pub percentage: f64,
}

/// Istio's `HTTPFaultInjection.Abort`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultAbort {
    /// `httpStatus` or `grpcStatus`; none aborts nothing.
    pub status: Option<AbortStatus>,
    /// `percentage.value`; 0 if not given.
    pub percentage: f64,
}

/// What an aborted request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// `httpStatus`, 200 to 599.
    Http(u16),
    /// `grpcStatus`.
    Grpc(GrpcStatus),
}

/// A gRPC status; its number is the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(pub u8);

const GRPC_STATUSES: &[(&str, GrpcStatus)] = &[
    ("OK", GrpcStatus(0)),
    ("CANCELLED", GrpcStatus(1)),
    ("UNKNOWN", GrpcStatus(2)),
    ("INVALID_ARGUMENT", GrpcStatus(3)),
    ("DEADLINE_EXCEEDED", GrpcStatus(4)),
    ("NOT_FOUND", GrpcStatus(5)),
    ("ALREADY_EXISTS", GrpcStatus(6)),
    ("PERMISSION_DENIED", GrpcStatus(7)),
    ("RESOURCE_EXHAUSTED", GrpcStatus(8)),
    ("FAILED_PRECONDITION", GrpcStatus(9)),
    ("ABORTED", GrpcStatus(10)),
    ("OUT_OF_RANGE", GrpcStatus(11)),
    ("UNIMPLEMENTED", GrpcStatus(12)),
    ("INTERNAL", GrpcStatus(13)),
    ("UNAVAILABLE", GrpcStatus(14)),
    ("DATA_LOSS", GrpcStatus(15)),
    ("UNAUTHENTICATED", GrpcStatus(16)),
];

impl Decode for HttpFault {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let delay = f.optional("delay");
            let abort = f.optional("abort");
            f.any_of(&["delay", "abort"]);
            Some(Self { delay, abort })
        })
    }
}

impl Decode for FaultDelay {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let fixed = f.optional("fixedDelay");
            unsupported(f, "exponentialDelay");
            let share = share(f);
            let beside = f.has("percentage");
            let old = f.get("percent").and_then(|cursor| {
                let WholePercent(share) = WholePercent::decode(&cursor)?;
                let newer = format!("percentage: {{value: {share}}}");
                cursor.deprecated_shape("percent", "percentage", Some(&newer), beside);
                Some(f64::from(share))
            });
            if !f.has("fixedDelay") && !f.has("exponentialDelay") {
                without_effect(f, "a delay without `fixedDelay` delays nothing");
            }
            Some(Self {
                fixed,
                percentage: share.or(old).unwrap_or(0.0),
            })
        })
    }
}

impl Decode for FaultAbort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let http = f.optional::<Status>("httpStatus");
            let grpc = f
                .get("grpcStatus")
                .and_then(|cursor| cursor.one_of(GRPC_STATUSES));
            unsupported(f, "http2Error");
            let share = share(f);
            let statuses = ["httpStatus", "grpcStatus", "http2Error"];
            f.exclusive(&statuses);
            if !statuses.iter().any(|field| f.has(field)) {
                without_effect(f, "an abort without a status aborts nothing");
            }
            Some(Self {
                status: http
                    .map(|Status(status)| AbortStatus::Http(status))
                    .or_else(|| grpc.map(AbortStatus::Grpc)),
                percentage: share.unwrap_or(0.0),
            })
        })
    }
}

fn share(f: &mut Fields<'_>) -> Option<f64> {
    let Percent(share) = f.optional("percentage")?;
    if share > 0.0 && share < SMALLEST_SHARE {
        let message = format!("{share} % is too small a share");
        let help = "the smallest is 0.0001 %";
        f.error_at("percentage", codes::INVALID_VALUE, message, Some(help));
    }
    Some(share)
}

/// Fields that Istio has in its schema only.
fn unsupported(f: &mut Fields<'_>, name: &'static str) {
    if f.optional::<String>(name).is_some() {
        let message = format!("`{name}` is supported neither by Istio nor here");
        f.error_at(name, codes::FIELD_OUT_OF_PLACE, message, None);
    }
}

fn without_effect(f: &Fields<'_>, message: &str) {
    f.cursor().warn(codes::FIELD_WITHOUT_EFFECT, message, None);
}
