//! The task that asks one endpoint again and again.

use std::sync::Arc;
use std::time::Duration;

use policies::document::health_check::HealthCheckSettings;
use policies::resilience::Health;
use tokio::sync::watch;

use super::Place;
use super::check::{Asking, Checker, Failure};
use crate::policy_store::PolicyStore;
use crate::{clock, random};

/// The longest text about a failure in the log.
const LONGEST_WHY: usize = 256;

/// A checked endpoint.
pub(super) struct Watched {
    place: Place,
    /// Its sender is dropped when nobody wants to know any more.
    settings: watch::Receiver<Arc<HealthCheckSettings>>,
    store: PolicyStore,
    checker: Arc<Checker>,
    health: Health,
}

impl Watched {
    pub(super) fn new(
        place: Place,
        settings: watch::Receiver<Arc<HealthCheckSettings>>,
        store: &PolicyStore,
        checker: &Arc<Checker>,
    ) -> Self {
        Self {
            place,
            settings,
            store: store.clone(),
            checker: Arc::clone(checker),
            health: Health::default(),
        }
    }

    /// Asks until nobody wants to know any more.
    pub(super) async fn run(mut self) {
        let settings = self.newest();
        if self.rest(settings.first_pause(random::number())).await {
            while self.once().await {}
        }
        if !self.health.is_healthy() {
            // What was found out is worth nothing any more.
            self.tell(true);
        }
    }

    fn newest(&mut self) -> Arc<HealthCheckSettings> {
        Arc::clone(&self.settings.borrow_and_update())
    }

    /// Asks, tells, waits for the next time; whether there is one.
    async fn once(&mut self) -> bool {
        let settings = self.newest();
        let result = self.ask(&settings).await;
        if self.settings.has_changed().is_err() {
            return false;
        }
        if let Some(result) = result {
            self.hear(&result, &settings);
        }
        self.rest(settings.pause(random::number())).await
    }

    /// Waits; new settings end the wait. Whether somebody wants to know still.
    async fn rest(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            changed = self.settings.changed() => changed.is_ok(),
        }
    }

    /// One check; none if the generation in force does not have the endpoint: the news is under way.
    async fn ask(&self, settings: &HealthCheckSettings) -> Option<Result<(), Failure>> {
        let snapshot = self.store.snapshot()?;
        let mut clusters = snapshot.clusters.iter();
        let (index, cluster) = clusters.find(|(_, cluster)| cluster.key == self.place.cluster)?;
        let mut endpoints = cluster.endpoints.iter();
        let asking = Asking {
            cluster,
            destination: snapshot.destination(index)?,
            position: endpoints.position(|endpoint| endpoint.address == self.place.address)?,
            resolver: &snapshot.resolver,
        };
        Some(self.checker.check(&asking, settings).await)
    }

    fn hear(&mut self, result: &Result<(), Failure>, settings: &HealthCheckSettings) {
        self.checker.metrics.count(result.as_ref().copied());
        if matches!(result, Err(Failure::NotMade)) {
            return;
        }
        let changed = self.health.checked(result.is_ok(), settings);
        // Each time: whoever was asked here before may have had a last word.
        self.tell(self.health.is_healthy());
        if !changed {
            return;
        }
        let (cluster, endpoint) = (&self.place.cluster, &self.place.address);
        let probe = &settings.probe;
        match result {
            Ok(()) => {
                tracing::info!(%cluster, %endpoint, %probe, "an endpoint passes its health checks again");
            }
            Err(failure) => {
                let why = failure.to_string();
                let error = runtime::escape::escape(&why, LONGEST_WHY);
                tracing::warn!(%cluster, %endpoint, %probe, %error, "an endpoint fails its health checks and gets no requests");
            }
        }
    }

    /// Tells the generation in force; those after it take it over.
    fn tell(&self, healthy: bool) {
        let Some(snapshot) = self.store.snapshot() else {
            return;
        };
        let now = clock::now();
        let Place { cluster, address } = &self.place;
        let clusters = snapshot.clusters.iter();
        for (index, found) in clusters.filter(|(_, found)| found.key == *cluster) {
            let Some(live) = snapshot.live(index) else {
                continue;
            };
            for (position, endpoint) in found.endpoints.iter().enumerate() {
                if endpoint.address == *address {
                    live.set_health(position, healthy, now);
                }
            }
        }
    }
}
