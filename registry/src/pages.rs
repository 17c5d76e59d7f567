//! What the registry shows on its admin port: `/services`, everything that is registered, and `/status`, itself.

use std::sync::Arc;

use dataplane::identity_status::IdentityStatus;
use dataplane::registry::Instance;
use http::StatusCode;
use identity::keeper::IdentityKeeper;
use runtime::admin::{AdminBuilder, AdminResponse};
use runtime::health::{Readiness, Waiting};
use serde::Serialize;

use crate::server::Shared;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    life: &'a str,
    version: u64,
    settled: bool,
    instances: Vec<&'a Instance>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    component: &'static str,
    version: &'static str,
    identity: IdentityStatus,
    instances: usize,
    ready: bool,
    waiting_for: Vec<Waiting>,
    draining: bool,
    rss_bytes: Option<u64>,
}

/// Adds the pages.
pub(crate) fn add(
    admin: AdminBuilder,
    shared: &Arc<Shared>,
    keeper: &IdentityKeeper,
    readiness: &Readiness,
) -> AdminBuilder {
    let (of_status, keeper, readiness) = (Arc::clone(shared), keeper.clone(), readiness.clone());
    let admin = admin.get("/status", move |_| {
        let report = readiness.report();
        let status = Status {
            component: "registry",
            version: env!("CARGO_PKG_VERSION"),
            identity: IdentityStatus::of(&keeper.status().borrow()),
            instances: of_status.published.borrow().instances.len(),
            ready: report.ready,
            waiting_for: report.waiting_for,
            draining: of_status.lifecycle.is_draining(),
            rss_bytes: runtime::process::resident_memory(std::process::id()),
        };
        let page = AdminResponse::json(StatusCode::OK, &status);
        async move { page }
    });
    let shared = Arc::clone(shared);
    admin.get("/services", move |_| {
        let state = Arc::clone(&shared.published.borrow());
        let page = Page {
            life: &shared.life,
            version: state.version,
            settled: state.settled,
            instances: state
                .instances
                .values()
                .map(|instance| &**instance)
                .collect(),
        };
        let page = AdminResponse::json(StatusCode::OK, &page);
        async move { page }
    })
}
