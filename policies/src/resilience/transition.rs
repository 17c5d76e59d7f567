//! What happens to breakers, for logs, metrics and operators.

use std::fmt;

use super::{BreakerState, Moment};
use crate::cluster::{ClusterKey, EndpointAddress};

/// A breaker has changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose breaker.
    pub endpoint: EndpointAddress,
    /// The state before.
    pub from: BreakerState,
    /// The state now.
    pub to: BreakerState,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Moment,
    /// When the ejection is over; none unless the breaker has opened.
    pub until: Option<Moment>,
}

/// Why a breaker has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Errors in a row (`consecutive5xxErrors`).
    ServerErrors,
    /// Gateway errors in a row (`consecutiveGatewayErrors`).
    GatewayErrors,
    /// Failures to connect, resets or timeouts in a row (`consecutiveLocalOriginFailures`).
    LocalErrors,
    /// The trial of the half-open breaker failed.
    TrialFailed,
    /// The trial of the half-open breaker succeeded.
    TrialSucceeded,
    /// The ejection is over.
    TimeOver,
    /// An operator has reset the breaker.
    Operator,
    /// No document asks for outlier detection any more.
    NotDetected,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::ServerErrors,
        Self::GatewayErrors,
        Self::LocalErrors,
        Self::TrialFailed,
        Self::TrialSucceeded,
        Self::TimeOver,
        Self::Operator,
        Self::NotDetected,
    ];

    /// A word for metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerErrors => "consecutive-5xx",
            Self::GatewayErrors => "consecutive-gateway-errors",
            Self::LocalErrors => "consecutive-local-origin-failures",
            Self::TrialFailed => "trial-failed",
            Self::TrialSucceeded => "trial-succeeded",
            Self::TimeOver => "ejection-time-over",
            Self::Operator => "operator",
            Self::NotDetected => "no-outlier-detection",
        }
    }

    /// A number above 0, for atomics.
    pub(super) fn code(self) -> u8 {
        let position = Self::ALL.iter().position(|reason| *reason == self);
        position
            .and_then(|position| u8::try_from(position + 1).ok())
            .unwrap_or(0)
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hears of every transition, after it is in force and outside of any lock.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A breaker of a cluster has changed its state.
    fn transition(&self, cluster: &ClusterKey, transition: &Transition);
}
