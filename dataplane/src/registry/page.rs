//! `/registry` on a proxy's admin port: what it knows of the registry, and whether it is registered itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::StatusCode;
use runtime::admin::{AdminBuilder, AdminResponse};
use serde::Serialize;

use super::instance::Instance;
use super::register::RegisteringStatus;
use super::watch::{WatchStatus, Watching};
use crate::endpoint_source::EndpointSource as _;
use crate::policy_store::PolicyStore;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    watch: WatchStatus,
    /// Whether the policies in force were built with what is known.
    in_force: bool,
    /// Absent on a proxy that registers nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<RegisteringStatus>,
    instances: Vec<Instance>,
}

/// Adds the page; a proxy without a registry has none.
#[must_use]
pub fn add(
    admin: AdminBuilder,
    store: &PolicyStore,
    watching: Option<&Watching>,
    registering: Option<Arc<ArcSwap<RegisteringStatus>>>,
) -> AdminBuilder {
    let Some(watching) = watching.cloned() else {
        return admin;
    };
    let store = store.clone();
    admin.get("/registry", move |_| {
        let built_with = store.state().endpoints.clone();
        let known = watching.documents();
        let in_force = match (&built_with, &known) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        let page = Page {
            watch: WatchStatus::clone(&watching.status()),
            in_force,
            registration: registering
                .as_ref()
                .map(|status| RegisteringStatus::clone(&status.load())),
            instances: watching.instances(),
        };
        async move { AdminResponse::json(StatusCode::OK, &page) }
    })
}
