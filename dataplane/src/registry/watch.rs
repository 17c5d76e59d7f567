//! Follows the registry: the endpoint source of a proxy on one machine.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use identity::SpiffeId;
use identity::material::MaterialReader;
use policies::source::SourceFile;
use runtime::published::Published;
use serde::Serialize;
use tokio::sync::watch;

use super::channel::{Dial, Pause};
use super::config::RegistryConfig;
use super::documents::documents;
use super::instance::Instance;
use super::known::Known;
use super::wire::{WatchRequest, WatchResponse};
use crate::endpoint_source::EndpointSource;
use crate::policy_store::rfc3339;

/// How the watch stands, for people and for whoever waits until a change has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// Whether there is a connection to the registry.
    pub connected: bool,
    /// Which life of the registry told what is known; empty before the first word.
    pub life: String,
    /// The version of that life which is known here.
    pub version: u64,
    /// When the connection was lost, as RFC 3339; what was known then is in force.
    pub away_since: Option<String>,
    /// Why there is no connection.
    pub error: Option<String>,
}

/// What is known, as documents and as it was told.
#[derive(Debug, Default)]
struct View {
    documents: Option<Arc<[SourceFile]>>,
    instances: Vec<Instance>,
}

#[derive(Debug)]
struct Inner {
    view: Published<View>,
    status: ArcSwap<WatchStatus>,
}

/// The registry as it changes; cheap to clone. The task that follows it ends with the last clone.
#[derive(Debug, Clone)]
pub struct Watching(Arc<Inner>);

impl Watching {
    /// Starts to follow the registry on the current runtime.
    pub fn start(config: &RegistryConfig, expected: SpiffeId, material: MaterialReader) -> Self {
        let dial = Dial {
            address: config.address,
            expected,
            material,
        };
        let watching = Self(Arc::new(Inner {
            view: Published::new(View::default()),
            status: ArcSwap::default(),
        }));
        let task = Task {
            dial,
            shared: Arc::downgrade(&watching.0),
            known: Known::default(),
        };
        tokio::spawn(task.run());
        watching
    }

    /// How the watch stands.
    pub fn status(&self) -> Arc<WatchStatus> {
        self.0.status.load_full()
    }

    /// Everything that is registered, as far as it is known here.
    pub fn instances(&self) -> Vec<Instance> {
        self.0.view.load().instances.clone()
    }
}

impl EndpointSource for Watching {
    fn documents(&self) -> Option<Arc<[SourceFile]>> {
        self.0.view.load().documents.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.view.subscribe()
    }
}

struct Task {
    dial: Dial,
    shared: std::sync::Weak<Inner>,
    known: Known,
}

impl Task {
    async fn run(mut self) {
        let mut pause = Pause::default();
        loop {
            let Err(error) = self.follow(&mut pause).await else {
                return;
            };
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            let before = shared.status.load();
            if before.connected {
                tracing::warn!(error, "the registry is away; the last known endpoints stay");
            } else if before.error.as_ref() != Some(&error) {
                tracing::debug!(error, "the registry does not answer yet");
            }
            let away_since = before.away_since.clone();
            let status = WatchStatus {
                connected: false,
                away_since: away_since.or_else(|| Some(rfc3339(SystemTime::now()))),
                error: Some(error),
                ..WatchStatus::clone(&before)
            };
            shared.status.store(Arc::new(status));
            drop(before);
            drop(shared);
            pause.wait().await;
        }
    }

    /// Follows one connection to its end, which is an error; `Ok` when nobody wants to know any more.
    async fn follow(&mut self, pause: &mut Pause) -> Result<(), String> {
        let mut client = self.dial.connect().await?;
        let refused =
            |status: tonic::Status| runtime::escape::escape(status.message(), 200).into_owned();
        let stream = client.watch(WatchRequest {}).await.map_err(refused)?;
        let mut stream = stream.into_inner();
        loop {
            let told = stream.message().await.map_err(refused)?;
            let told = told.ok_or_else(|| "the registry ended the stream".to_owned())?;
            pause.forget();
            if !self.take(told)? {
                return Ok(());
            }
        }
    }

    /// Publishes what was told. Whether anybody wants to know.
    fn take(&mut self, told: WatchResponse) -> Result<bool, String> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(false);
        };
        let changed = self.known.take(told);
        let changed = changed.map_err(|error| format!("the registry tells nonsense: {error}"))?;
        if changed || shared.view.load().documents.is_none() {
            let instances: Vec<Instance> = self.known.instances.values().cloned().collect();
            shared.view.store(Arc::new(View {
                documents: Some(documents(&instances)),
                instances,
            }));
        }
        shared.status.store(Arc::new(WatchStatus {
            connected: true,
            life: self.known.life.clone(),
            version: self.known.version,
            away_since: None,
            error: None,
        }));
        Ok(true)
    }
}
