//! The `/status` page of the operators' port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use dataplane::PolicyStore;
use dataplane::policy_store::PolicyStatus;
use identity::keeper::{IdentityKeeper, KeeperState, KeeperStatus};
use runtime::health::{Readiness, Waiting};
use runtime::process::resident_memory;
use runtime::published::Published;
use serde::Serialize;

use crate::certificates::CredentialProblems;

/// Where the parts of a status are asked for.
#[derive(Debug, Clone)]
pub(crate) struct StatusSources {
    pub(crate) workload: String,
    pub(crate) keeper: IdentityKeeper,
    pub(crate) policies: PolicyStore,
    pub(crate) readiness: Readiness,
    pub(crate) credentials: Arc<Published<CredentialProblems>>,
    /// By logical port; empty until they are bound.
    pub(crate) listeners: Arc<Published<BTreeMap<u16, SocketAddr>>>,
}

/// What `/status` answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    component: &'static str,
    version: &'static str,
    workload: String,
    identity: IdentityStatus,
    policy: PolicyStatus,
    /// Logical port to address.
    listeners: BTreeMap<u16, SocketAddr>,
    /// Ports that `Gateway` documents name and nobody maps to an address.
    unmapped_ports: Vec<u16>,
    /// Credentials that cannot be used, and why.
    credential_problems: BTreeMap<String, String>,
    ready: bool,
    waiting_for: Vec<Waiting>,
    rss_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IdentityStatus {
    spiffe_id: Option<String>,
    serial: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    state: &'static str,
    last_error: Option<String>,
    renewals: u64,
    ca_reachable: bool,
    bundle_sequence: u64,
}

impl StatusSources {
    /// The state at this moment.
    pub(crate) fn status(&self) -> Status {
        let report = self.readiness.report();
        let listeners = BTreeMap::clone(&self.listeners.load());
        let credential_problems = self.credentials.load();
        Status {
            component: "gateway",
            version: env!("CARGO_PKG_VERSION"),
            workload: self.workload.clone(),
            identity: IdentityStatus::of(&self.keeper.status().borrow()),
            policy: self.policies.status(),
            unmapped_ports: self.unmapped(&listeners),
            listeners,
            credential_problems: credential_problems
                .iter()
                .map(|(name, problem)| (name.to_string(), problem.clone()))
                .collect(),
            ready: report.ready,
            waiting_for: report.waiting_for,
            rss_bytes: resident_memory(std::process::id()),
        }
    }

    fn unmapped(&self, listeners: &BTreeMap<u16, SocketAddr>) -> Vec<u16> {
        let Some(snapshot) = self.policies.snapshot() else {
            return Vec::new();
        };
        let ports = snapshot
            .listeners
            .iter()
            .flat_map(|all| &all.ports)
            .map(|port| port.number);
        ports
            .filter(|port| !listeners.is_empty() && !listeners.contains_key(port))
            .collect()
    }
}

impl IdentityStatus {
    fn of(status: &KeeperStatus) -> Self {
        Self {
            spiffe_id: status.spiffe_id.clone(),
            serial: status.serial.clone(),
            not_before: status.not_before.and_then(rfc3339),
            not_after: status.not_after.and_then(rfc3339),
            state: state_name(status.state),
            last_error: status.last_error.clone(),
            renewals: status.renewals,
            ca_reachable: status.ca_reachable,
            bundle_sequence: status.bundle_sequence,
        }
    }
}

/// The name of a state, as people read it.
pub(crate) const fn state_name(state: KeeperState) -> &'static str {
    match state {
        KeeperState::Waiting => "waiting",
        KeeperState::Valid => "valid",
        KeeperState::Failing => "failing",
    }
}

fn rfc3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time)
        .ok()
        .map(|time| format!("{time:.0}"))
}
