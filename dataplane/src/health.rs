//! Active health checks: HealthCheck documents carried out.
//!
//! One task asks each checked endpoint of each cluster, over the same transport as requests, and tells the cluster's live
//! state what it makes of the answers ([`Health`](policies::resilience::Health)). A task belongs to a cluster's key and an
//! endpoint's address: it lives on over generations, follows the settings of the newest one, and ends with its endpoint or its
//! document. An endpoint that nobody checks any more counts as healthy.

mod check;
mod metrics;
mod watched;
pub mod wire;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use identity::material::MaterialReader;
use policies::cluster::{ClusterKey, EndpointAddress};
use policies::document::health_check::HealthCheckSettings;
use prometheus::Registry;
use tokio::sync::watch;

use crate::policy_store::PolicyStore;
use crate::snapshot::Snapshot;
use check::Checker;
use watched::Watched;

/// The health checks of one proxy; cheap to clone.
#[derive(Clone, Debug)]
pub struct HealthChecks(Arc<Checker>);

/// A checked endpoint, whatever the generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    cluster: ClusterKey,
    address: EndpointAddress,
}

/// The tasks that run, by what they ask. A task ends when its settings are dropped.
type Running = HashMap<Place, watch::Sender<Arc<HealthCheckSettings>>>;

impl HealthChecks {
    /// Checks made with the identity that `reader` has.
    ///
    /// # Errors
    /// When the metrics are registered already.
    pub fn new(reader: MaterialReader, registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self(Arc::new(Checker::new(reader, registry)?)))
    }

    /// Checks what every generation asks for, from now on.
    pub fn follow(&self, store: &PolicyStore) {
        let (checker, store) = (Arc::clone(&self.0), store.clone());
        tokio::spawn(async move {
            let mut moved = store.subscribe();
            let mut running = Running::new();
            loop {
                if let Some(snapshot) = store.snapshot() {
                    adjust(&mut running, &snapshot, |place, settings| {
                        let watched = Watched::new(place, settings, &store, &checker);
                        tokio::spawn(watched.run());
                    });
                }
                if moved.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Closes idle connections now and keeps none any more: the process drains.
    pub fn close_idle(&self) {
        self.0.close_idle();
    }
}

/// Ends the tasks that the generation does not want, tells the others their settings, and starts those that are missing.
fn adjust(
    running: &mut Running,
    snapshot: &Snapshot,
    start: impl Fn(Place, watch::Receiver<Arc<HealthCheckSettings>>),
) {
    let wanted = wanted(snapshot);
    running.retain(|place, _| wanted.contains_key(place));
    for (place, settings) in wanted {
        match running.entry(place) {
            Entry::Occupied(known) => {
                known.get().send_if_modified(|before| {
                    let changed = **before != **settings;
                    if changed {
                        *before = Arc::clone(settings);
                    }
                    changed
                });
            }
            Entry::Vacant(free) => {
                let (sender, receiver) = watch::channel(Arc::clone(settings));
                start(free.key().clone(), receiver);
                free.insert(sender);
            }
        }
    }
}

fn wanted(snapshot: &Snapshot) -> HashMap<Place, &Arc<HealthCheckSettings>> {
    let mut wanted = HashMap::new();
    for (_, cluster) in snapshot.clusters.iter() {
        let Some(settings) = &cluster.health_check else {
            continue;
        };
        for endpoint in &cluster.endpoints {
            let place = Place {
                cluster: cluster.key.clone(),
                address: endpoint.address.clone(),
            };
            wanted.insert(place, settings);
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
