//! Breakers and limits of destinations as operators see them: metrics, the admin pages `/breakers` and
//! `/breakers/reset`, and a line in the log for every breaker that opens or closes.

mod events;
mod metrics;
mod shown;

use std::sync::Arc;

use http::StatusCode;
use policies::cluster::Cluster;
use policies::resilience::Live;
use runtime::admin::{AdminBuilder, AdminRequest, AdminResponse, Lazy};
use serde::{Deserialize, Serialize};

pub(crate) use events::observer;
pub use metrics::register;
pub use shown::{ClusterShown, DetectionShown, EndpointShown, TransitionShown};

use crate::clock;
use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;

/// `/breakers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakers {
    /// The generation in force.
    pub generation: u64,
    /// Every cluster of the proxy.
    pub clusters: Vec<ClusterShown>,
}

/// What `/breakers/reset` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Breakers that it was asked to close.
    pub asked: usize,
    /// Those of them that were not closed.
    pub reset: usize,
}

/// Adds the pages.
#[must_use]
pub fn add(admin: AdminBuilder, store: &PolicyStore) -> AdminBuilder {
    let (shown, reset) = (store.clone(), store.clone());
    admin
        .get("/breakers", move |request: AdminRequest| {
            let page = breakers(&shown, &request);
            async move { page }
        })
        .post("/breakers/reset", move |request: AdminRequest| {
            let page = close(&reset, &request);
            async move { page }
        })
}

#[derive(Serialize)]
struct Page<L> {
    generation: u64,
    clusters: L,
}

fn not_yet() -> AdminResponse {
    let why = "no documents are in force yet; see /status\n";
    AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// The clusters, with `?cluster=` that one.
fn breakers(store: &PolicyStore, request: &AdminRequest) -> AdminResponse {
    let Some(snapshot) = store.snapshot() else {
        return not_yet();
    };
    let wanted = asked(request, "cluster");
    AdminResponse::json_stream(Page {
        generation: snapshot.generation,
        clusters: Lazy(move || {
            let snapshot = Arc::clone(&snapshot);
            let wanted = wanted.clone();
            let now = clock::now();
            (0..snapshot.clusters.len()).filter_map(move |position| {
                let (cluster, live) = at(&snapshot, position)?;
                is_wanted(&cluster.key.to_string(), wanted.as_deref())
                    .then(|| ClusterShown::of(cluster, live, now))
            })
        }),
    })
}

/// Closes the breakers of a cluster, or of one of its endpoints.
fn close(store: &PolicyStore, request: &AdminRequest) -> AdminResponse {
    let Some(snapshot) = store.snapshot() else {
        return not_yet();
    };
    let Some(cluster) = asked(request, "cluster") else {
        let why = "expected `cluster=`, a name as `/breakers` shows it, and `endpoint=` for one of its endpoints only\n";
        return AdminResponse::text(StatusCode::BAD_REQUEST, why);
    };
    let endpoint = asked(request, "endpoint");
    let now = clock::now();
    let mut done = Reset { asked: 0, reset: 0 };
    let clusters = snapshot.clusters.iter();
    let named = clusters.filter(|(_, found)| found.key.to_string() == cluster);
    for (index, found) in named {
        let Some(live) = snapshot.live(index) else {
            continue;
        };
        for (number, one) in found.endpoints.iter().enumerate() {
            if is_wanted(&one.address.to_string(), endpoint.as_deref()) {
                done.asked += 1;
                done.reset += usize::from(live.reset(number, now));
            }
        }
    }
    if done.asked == 0 {
        let why = "there is no such cluster or endpoint; see /breakers\n";
        return AdminResponse::text(StatusCode::NOT_FOUND, why);
    }
    AdminResponse::json(StatusCode::OK, &done)
}

fn is_wanted(name: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| wanted == name)
}

/// A parameter; names of clusters have bars, which URLs escape.
fn asked(request: &AdminRequest, name: &str) -> Option<String> {
    let value = request.parameter(name)?;
    Some(value.replace("%7C", "|").replace("%3A", ":"))
}

fn at(snapshot: &Snapshot, position: usize) -> Option<(&Cluster, &Arc<Live>)> {
    let (index, cluster) = snapshot.clusters.iter().nth(position)?;
    Some((cluster, snapshot.live(index)?))
}

#[cfg(test)]
mod tests;
