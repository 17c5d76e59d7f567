//! Follows the documents and publishes one [`Snapshot`] after the other; a bad edit leaves the last good one in
//! force.
//!
//! Beside the files there may be an [`EndpointSource`]: what it knows is read with them, is never part of the edition, and
//! can never make good files bad.

mod build;
mod follow;
mod status;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use policies::diagnostic::Diagnostic;
use policies::source::SourceFile;
use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use runtime::documents::{DocumentSource, DocumentsError, Edition, EditionId, ReloadTrigger};
use runtime::published::Published;

use build::Building;
pub(crate) use status::rfc3339;
pub use status::{PolicyStatus, RejectedStatus};

use crate::endpoint_source::EndpointSource;
use crate::snapshot::{ProxyContext, Snapshot};

/// An edit that was not put in force.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// When.
    pub at: SystemTime,
    /// The content that was refused; none if the files could not be read.
    pub edition: Option<EditionId>,
    /// Why.
    pub reason: RejectionReason,
}

/// Why an edit was not put in force.
#[derive(Debug, Clone)]
pub enum RejectionReason {
    /// The files could not be read as a set.
    Unreadable(DocumentsError),
    /// Every file is gone at once. A lost mount looks like that, and without policies everything is allowed.
    AllGone,
    /// The documents have errors; every finding, warnings too.
    Invalid(Arc<[Diagnostic]>),
}

/// What operators read about [`RejectionReason::AllGone`].
const ALL_GONE: &str = "every policy document is gone at once, as when a mount is lost; restart to run without policies";

/// What is in force, and what was refused since.
#[derive(Debug, Default)]
pub struct PolicyState {
    /// The last good generation; `None` until there is one.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The documents of that generation, as they were read.
    pub edition: Option<Arc<Edition>>,
    /// The newest edit, when it was refused; gone with the next good one.
    pub rejected: Option<Rejection>,
    /// What the endpoint source knew when that generation was built.
    pub endpoints: Option<Arc<[SourceFile]>>,
}

/// Why the store could not start.
#[derive(Debug, thiserror::Error)]
pub enum PolicyStoreError {
    /// The files cannot be watched.
    #[error("cannot watch the policy documents")]
    Watch(#[source] io::Error),
    /// The metrics cannot be registered.
    #[error("cannot register the policy metrics")]
    Metrics(#[from] prometheus::Error),
}

#[derive(Debug)]
struct StoreMetrics {
    generation: IntGauge,
    loaded_at: Gauge,
    documents: IntGauge,
    warnings: IntGauge,
    rejected: IntCounter,
    rejected_now: IntGauge,
}

#[derive(Debug)]
struct Inner {
    context: ProxyContext,
    /// Held while a generation is built and published, so that generations come one after the other.
    building: Mutex<Building>,
    endpoints: Option<Arc<dyn EndpointSource>>,
    state: Published<PolicyState>,
    metrics: StoreMetrics,
    trigger: Option<ReloadTrigger>,
}

/// The policy of one proxy as it changes; cheap to clone.
#[derive(Debug, Clone)]
pub struct PolicyStore(Arc<Inner>);

impl PolicyStore {
    /// Starts to follow `source`, and `endpoints` if there are any, on the current runtime. The first generation comes
    /// shortly after.
    ///
    /// # Errors
    /// When the files cannot be watched at all; files with errors are no such case.
    pub fn start(
        source: DocumentSource,
        endpoints: Option<Arc<dyn EndpointSource>>,
        context: ProxyContext,
        registry: &Registry,
    ) -> Result<Self, PolicyStoreError> {
        let watch = source.watch().map_err(PolicyStoreError::Watch)?;
        context.resolver.register(registry)?;
        let store = Self::new(context, endpoints, Some(watch.trigger()), registry)?;
        tokio::spawn(store.clone().follow(watch));
        tokio::spawn(store.clone().follow_names());
        Ok(store)
    }

    /// A store that follows nothing and takes editions from [`Self::apply`] only.
    pub fn fixed(context: ProxyContext, registry: &Registry) -> Result<Self, PolicyStoreError> {
        Self::new(context, None, None, registry)
    }

    fn new(
        context: ProxyContext,
        endpoints: Option<Arc<dyn EndpointSource>>,
        trigger: Option<ReloadTrigger>,
        registry: &Registry,
    ) -> Result<Self, PolicyStoreError> {
        let metrics = StoreMetrics::register(registry)?;
        let state = Published::new(PolicyState::default());
        Ok(Self(Arc::new(Inner {
            context,
            building: Mutex::default(),
            endpoints,
            state,
            metrics,
            trigger,
        })))
    }

    /// The generation in force, one atomic read; `None` until there is a good one. Load it once per request.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.0.state.load().snapshot.clone()
    }

    /// What is in force and what was refused.
    pub fn state(&self) -> Arc<PolicyState> {
        self.0.state.load_full()
    }

    /// Counts publications; changes with every new generation and every refusal.
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.state.subscribe()
    }

    /// Waits until there is a generation in force.
    pub async fn ready(&self) -> Arc<Snapshot> {
        let mut moved = self.subscribe();
        loop {
            if let Some(snapshot) = self.snapshot() {
                return snapshot;
            }
            if moved.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks for the documents to be read again now (SIGHUP, `POST /reload`).
    pub fn reload(&self) {
        if let Some(trigger) = &self.0.trigger {
            trigger.reload();
        }
    }

    /// The `policy` part of `/status`.
    pub fn status(&self) -> PolicyStatus {
        PolicyStatus::of(&self.state())
    }

    /// For whom snapshots are built.
    pub fn context(&self) -> &ProxyContext {
        &self.0.context
    }
}

fn announce(snapshot: &Snapshot, previous: Option<&Snapshot>) {
    tracing::info!(
        generation = snapshot.generation,
        documents = snapshot.documents,
        warnings = snapshot.warnings.len(),
        "policy in force"
    );
    for warning in &snapshot.warnings {
        // Said once, not again with every reload.
        if !previous.is_some_and(|p| p.warnings.contains(warning)) {
            tracing::warn!(diagnostic = %warning, "policy document");
        }
    }
}

impl Rejection {
    fn log(&self, generation: Option<u64>) {
        match &self.reason {
            RejectionReason::Unreadable(error) => {
                tracing::error!(%error, keeping = generation, "policy documents refused");
            }
            RejectionReason::AllGone => {
                tracing::error!(
                    error = ALL_GONE,
                    keeping = generation,
                    "policy documents refused"
                );
            }
            RejectionReason::Invalid(findings) => {
                for finding in findings.iter().filter(|f| f.is_error()) {
                    tracing::error!(diagnostic = %finding, keeping = generation, "policy documents refused");
                }
            }
        }
    }
}

impl StoreMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let loaded_at = Gauge::new(
            "portcullis_policy_loaded_timestamp_seconds",
            "When the policy in force was loaded, in seconds since 1970.",
        )?;
        registry.register(Box::new(loaded_at.clone()))?;
        let rejected = IntCounter::new(
            "portcullis_policy_rejected_total",
            "Editions of the policy documents that were refused.",
        )?;
        registry.register(Box::new(rejected.clone()))?;
        Ok(Self {
            generation: gauge(
                "portcullis_policy_generation",
                "The policy generation in force.",
            )?,
            documents: gauge("portcullis_policy_documents", "Documents in force.")?,
            warnings: gauge(
                "portcullis_policy_warnings",
                "Findings about the policy in force.",
            )?,
            rejected_now: gauge(
                "portcullis_policy_rejected",
                "1 while the newest edition is refused and an older one is in force.",
            )?,
            loaded_at,
            rejected,
        })
    }

    fn accepted(&self, snapshot: &Snapshot) {
        self.generation
            .set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        self.documents
            .set(i64::try_from(snapshot.documents).unwrap_or(i64::MAX));
        self.warnings
            .set(i64::try_from(snapshot.warnings.len()).unwrap_or(i64::MAX));
        self.rejected_now.set(0);
        let since = snapshot
            .loaded_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.loaded_at.set(since.as_secs_f64());
    }

    fn rejected(&self) {
        self.rejected.inc();
        self.rejected_now.set(1);
    }
}

#[cfg(test)]
mod tests;
