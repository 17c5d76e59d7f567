//! The `/status` page of the operators' port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use dataplane::PolicyStore;
use dataplane::config::AuthorizationConfig;
use dataplane::decisions::Decisions;
use dataplane::identity_status::IdentityStatus;
use dataplane::policy_store::PolicyStatus;
use dataplane::registry::Watching;
use identity::keeper::IdentityKeeper;
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
    pub(crate) authorization: AuthorizationConfig,
    /// By logical port; empty until they are bound.
    pub(crate) listeners: Arc<Published<BTreeMap<u16, SocketAddr>>>,
    /// What is known of the mesh's registry, if there is one.
    pub(crate) watching: Option<Watching>,
    /// For pages of their own.
    pub(crate) decisions: Decisions,
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
    authorization: AuthorizationConfig,
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
            authorization: self.authorization,
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
