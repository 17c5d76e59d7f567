//! Follows files and endpoints, one change after the other.

use std::sync::Arc;
use std::time::Duration;

use runtime::documents::DocumentWatch;
use tokio::sync::watch;
use tokio::time::timeout;

use super::PolicyStore;
use crate::endpoint_source::EndpointSource;

/// How long the first generation waits for the endpoint source; without an answer the files stand alone.
const FIRST_ENDPOINTS: Duration = Duration::from_secs(3);
/// Workloads that start together, and names that change together, make one generation.
const TOGETHER: Duration = Duration::from_millis(10);

impl PolicyStore {
    /// Follows the names of endpoints: an address that comes or goes is an endpoint that comes or goes.
    pub(super) async fn follow_names(self) {
        let mut changes = self.context().resolver.changes();
        while changes.changed().await.is_ok() {
            // Names that change together make one generation.
            tokio::time::sleep(TOGETHER).await;
            changes.mark_unchanged();
            let store = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || store.rebuild()).await {
                tracing::error!(%error, "the policy documents could not be compiled");
            }
        }
    }

    /// Follows the files, and the endpoints that no file declares.
    pub(super) async fn follow(self, mut files: DocumentWatch) {
        let mut endpoints = match &self.0.endpoints {
            Some(source) => Some(first(source).await),
            None => None,
        };
        loop {
            let store = self.clone();
            // Compiling a large set takes milliseconds; it must not hold up connections.
            let built = tokio::select! {
                edition = files.next() => match edition {
                    Some(edition) => tokio::task::spawn_blocking(move || store.apply(edition)),
                    None => return,
                },
                () = changed(&mut endpoints) => tokio::task::spawn_blocking(move || store.rebuild()),
            };
            if let Err(error) = built.await {
                tracing::error!(%error, "the policy documents could not be compiled");
            }
        }
    }
}

/// Waits until the source knows anything, within limits.
async fn first(source: &Arc<dyn EndpointSource>) -> watch::Receiver<u64> {
    let mut changes = source.changes();
    let known = async { while source.documents().is_none() && changes.changed().await.is_ok() {} };
    if timeout(FIRST_ENDPOINTS, known).await.is_err() {
        tracing::warn!(
            "no endpoints from the registry yet; the files stand alone until it answers"
        );
    }
    changes
}

/// Waits for other endpoints; without a source for ever.
async fn changed(endpoints: &mut Option<watch::Receiver<u64>>) {
    let Some(changes) = endpoints else {
        return std::future::pending().await;
    };
    if changes.changed().await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(TOGETHER).await;
    changes.mark_unchanged();
}
