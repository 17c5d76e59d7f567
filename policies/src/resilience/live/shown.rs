//! The live state of a cluster, for operators.

use std::sync::atomic::Ordering;

use super::Live;
use crate::cluster::EndpointAddress;
use crate::resilience::host::Counter;
use crate::resilience::{BreakerState, Moment, Reason, Transition};

/// A cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveState {
    /// The service's state: open when every endpoint's breaker is open, closed when any is closed.
    pub breaker: BreakerState,
    /// Requests under way.
    pub active: u32,
    /// Requests that `http2MaxRequests` has turned away.
    pub overflows: u64,
    /// Ejections that `maxEjectionPercent` did not allow.
    pub spared: u64,
    /// Its endpoints, by position.
    pub endpoints: Vec<EndpointState>,
    /// Its last transitions, the oldest first.
    pub transitions: Vec<Transition>,
}

/// An endpoint at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its breaker.
    pub breaker: BreakerState,
    /// When its ejection is over, or was; none if the breaker is closed.
    pub until: Option<Moment>,
    /// Why the breaker opened last; none if it never did.
    pub reason: Option<Reason>,
    /// What active health checks say; `true` if nobody checks.
    pub healthy: bool,
    /// Tries under way.
    pub active: u32,
    /// Errors in a row.
    pub server_errors: u32,
    /// Gateway errors in a row.
    pub gateway_errors: u32,
    /// Failures to connect in a row, where they count for themselves.
    pub local_errors: u32,
    /// Ejections since the process started.
    pub ejections: u64,
}

impl Live {
    /// The cluster as it is.
    pub fn state(&self, now: Moment) -> LiveState {
        let endpoints: Vec<EndpointState> = self.endpoint_states(now).collect();
        LiveState {
            breaker: self.breaker(now),
            active: self.active(),
            overflows: self.overflows(),
            spared: self.spared(),
            endpoints,
            transitions: self.shared.transitions(),
        }
    }

    /// The service's state: closed if any breaker of its endpoints is closed, else half-open if any is; a service without
    /// endpoints is closed, for no breaker is why nobody answers.
    pub fn breaker(&self, now: Moment) -> BreakerState {
        let mut found = None;
        for host in self.hosts.iter() {
            match host.state(now) {
                BreakerState::Closed => return BreakerState::Closed,
                BreakerState::HalfOpen => found = Some(BreakerState::HalfOpen),
                BreakerState::Open => found = found.or(Some(BreakerState::Open)),
            }
        }
        found.unwrap_or(BreakerState::Closed)
    }

    /// Requests that `http2MaxRequests` has turned away.
    pub fn overflows(&self) -> u64 {
        self.shared.overflows.load(Ordering::Relaxed)
    }

    /// Ejections that `maxEjectionPercent` did not allow.
    pub fn spared(&self) -> u64 {
        self.shared.spared.load(Ordering::Relaxed)
    }

    /// Its endpoints as they are, by position.
    pub fn endpoint_states(&self, now: Moment) -> impl Iterator<Item = EndpointState> {
        let hosts = self.addresses.iter().zip(self.hosts.iter());
        hosts.map(move |(address, host)| EndpointState {
            address: address.clone(),
            breaker: host.state(now),
            until: host.until(),
            reason: host.reason(),
            healthy: !host.is_unhealthy(),
            active: host.active(),
            server_errors: host.errors(Counter::Server),
            gateway_errors: host.errors(Counter::Gateway),
            local_errors: host.errors(Counter::Local),
            ejections: host.ejections(),
        })
    }
}
