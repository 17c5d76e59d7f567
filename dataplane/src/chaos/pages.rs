//! `/chaos` on the admin port of a sidecar: which scenarios hold here, and the order to change them.

use std::collections::BTreeSet;

use http::StatusCode;
use policies::workload::Workload;
use runtime::admin::{AdminBuilder, AdminRequest, AdminResponse};
use serde::{Deserialize, Serialize};

use super::{Chaos, Scenario, ScenarioShown};
use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;

/// The body of `PUT /chaos`: what holds from then on, and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosOrder {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
}

/// The page `GET /chaos`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChaosPage {
    /// The workload's name.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// The services that it stands behind.
    pub services: BTreeSet<ServiceName>,
    /// What holds.
    pub scenarios: Vec<ScenarioShown>,
}

/// A service by its short name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceName {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}

/// Adds the page, where chaos is allowed.
#[must_use]
pub fn add(admin: AdminBuilder, store: &PolicyStore, chaos: &Chaos) -> AdminBuilder {
    if !chaos.is_allowed() {
        return admin;
    }
    let page = {
        let (store, chaos) = (store.clone(), chaos.clone());
        move || AdminResponse::json(StatusCode::OK, &page(&store, &chaos))
    };
    let (shown, put, deleted) = (page.clone(), page.clone(), page);
    let (ordered, cleared) = (chaos.clone(), chaos.clone());
    admin
        .get("/chaos", move |_| {
            let page = shown();
            async move { page }
        })
        .put("/chaos", move |request: AdminRequest| {
            let answer = match order(&ordered, &request) {
                Ok(()) => put(),
                Err(why) => AdminResponse::text(StatusCode::BAD_REQUEST, format!("{why}\n")),
            };
            async move { answer }
        })
        .delete("/chaos", move |_| {
            cleared.clear();
            let page = deleted();
            async move { page }
        })
}

fn order(chaos: &Chaos, request: &AdminRequest) -> Result<(), String> {
    let order: ChaosOrder = serde_json::from_slice(&request.body)
        .map_err(|error| format!("expected scenarios as JSON: {error}"))?;
    chaos
        .order(order.scenarios)
        .map_err(|error| error.to_string())
}

fn page(store: &PolicyStore, chaos: &Chaos) -> ChaosPage {
    let workload = &store.context().workload;
    ChaosPage {
        workload: workload.name.clone(),
        namespace: workload.namespace.clone(),
        services: services_of(store.snapshot().as_deref(), workload),
        scenarios: chaos.shown(),
    }
}

/// The services that have the workload among their endpoints, and the one that its labels say it is an instance of
/// (as Istio's canonical service).
fn services_of(snapshot: Option<&Snapshot>, workload: &Workload) -> BTreeSet<ServiceName> {
    let name = |name: &str, namespace: &str| ServiceName {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    };
    let clusters = snapshot
        .into_iter()
        .flat_map(|snapshot| snapshot.clusters.iter());
    let behind = clusters.filter(|(_, cluster)| {
        let mut workloads = cluster.endpoints.iter().map(|endpoint| &endpoint.workload);
        workloads.any(|of| *of.name == *workload.name && *of.namespace == *workload.namespace)
    });
    let mut services: BTreeSet<ServiceName> = behind
        .map(|(_, cluster)| name(&cluster.service.name, &cluster.service.namespace))
        .collect();
    let canonical = [
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ];
    let label = canonical
        .iter()
        .find_map(|label| workload.labels.get(*label));
    let own = label.map_or(&*workload.name, |label| label);
    services.insert(name(own, &workload.namespace));
    services
}
