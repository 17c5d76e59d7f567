//! The `/status` page of the admin port.

use dataplane::config::AuthorizationConfig;
use dataplane::identity_status::IdentityStatus;
use dataplane::policy_store::PolicyStatus;
use http::StatusCode;
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
    authorization: AuthorizationConfig,
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
        identity: IdentityStatus::of(&parts.keeper.status().borrow()),
        policy: parts.proxy.store.status(),
        authorization: AuthorizationConfig {
            mode: parts.proxy.access.mode,
        },
        ready: report.ready,
        waiting_for: report.waiting_for,
        draining: parts.proxy.life.is_draining(),
        open_connections: parts.proxy.life.connections().open(),
        rss_bytes: runtime::process::resident_memory(std::process::id()),
    };
    AdminResponse::json(StatusCode::OK, &status)
}
