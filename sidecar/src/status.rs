//! The `/status` page of the admin port.

use std::time::SystemTime;

use dataplane::policy_store::PolicyStatus;
use http::StatusCode;
use identity::keeper::{KeeperState, KeeperStatus};
use runtime::admin::AdminResponse;
use runtime::health::Waiting;
use serde::Serialize;

use crate::process::Parts;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    component: &'static str,
    version: &'static str,
    workload: WorkloadStatus,
    identity: IdentityStatus,
    policy: PolicyStatus,
    ready: bool,
    waiting_for: Vec<Waiting>,
    draining: bool,
    open_connections: usize,
    rss_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadStatus {
    name: String,
    namespace: String,
    service_account: String,
}

/// The certificate and its keeper. Times are RFC 3339.
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

pub(crate) fn page(parts: &Parts) -> AdminResponse {
    let report = parts.readiness.report();
    let workload = &parts.proxy.workload;
    let status = Status {
        component: crate::process::COMPONENT,
        version: crate::process::VERSION,
        workload: WorkloadStatus {
            name: workload.name.clone(),
            namespace: workload.namespace.clone(),
            service_account: workload.service_account.clone(),
        },
        identity: identity(&parts.keeper.status().borrow()),
        policy: parts.proxy.store.status(),
        ready: report.ready,
        waiting_for: report.waiting_for,
        draining: parts.proxy.life.is_draining(),
        open_connections: parts.proxy.life.connections().open(),
        rss_bytes: runtime::process::resident_memory(std::process::id()),
    };
    AdminResponse::json(StatusCode::OK, &status)
}

fn identity(keeper: &KeeperStatus) -> IdentityStatus {
    IdentityStatus {
        spiffe_id: keeper.spiffe_id.clone(),
        serial: keeper.serial.clone(),
        not_before: keeper.not_before.map(rfc3339),
        not_after: keeper.not_after.map(rfc3339),
        state: match keeper.state {
            KeeperState::Waiting => "waiting",
            KeeperState::Valid => "valid",
            KeeperState::Failing => "failing",
        },
        last_error: keeper.last_error.clone(),
        renewals: keeper.renewals,
        ca_reachable: keeper.ca_reachable,
        bundle_sequence: keeper.bundle_sequence,
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| format!("{time:.0}"))
        .unwrap_or_default()
}
