//! Follows the CA's bundle stream, for ever, and tells the keeper.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle, time::sleep};

use crate::{
    bundle::TrustBundle,
    enrol::{CaClient, CaTrust, EnrolError},
    material::MaterialReader,
    reason::reason,
    renewal::retry_without,
};

/// Time for the keeper to publish a changed bundle before we connect again under it.
const SETTLE: Duration = Duration::from_millis(200);

/// What the stream tells.
#[derive(Debug)]
pub(super) enum Event {
    /// The CA sent its bundle.
    Bundle(TrustBundle),
    /// The stream ended or could not be opened.
    Lost(String),
}

/// Starts following as soon as there is a bundle to verify the CA with.
pub(super) fn start(
    runtime: &Handle,
    ca: String,
    reader: MaterialReader,
) -> (AbortHandle, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(4);
    let task = runtime.spawn(follow(ca, reader, sender));
    (task.abort_handle(), events)
}

async fn follow(ca: String, mut reader: MaterialReader, events: mpsc::Sender<Event>) {
    let mut attempt = 0;
    loop {
        let Some(material) = reader.current() else {
            reader.changed().await;
            continue;
        };
        let (event, wait) = match watch(&ca, &material.bundle, &events, &mut attempt).await {
            Ok(Ended::RootsChanged) => (None, SETTLE),
            Ok(Ended::ByServer) => (
                Some(Event::Lost("the CA ended the bundle stream".to_owned())),
                retry_without(attempt, ca.as_bytes()),
            ),
            Err(error) => (
                Some(Event::Lost(reason(&error))),
                retry_without(attempt, ca.as_bytes()),
            ),
        };
        attempt = attempt.saturating_add(1);
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
        sleep(wait).await;
    }
}

enum Ended {
    /// The roots are others now: the CA must prove itself again under them.
    RootsChanged,
    ByServer,
}

async fn watch(
    ca: &str,
    bundle: &Arc<TrustBundle>,
    events: &mpsc::Sender<Event>,
    attempt: &mut u32,
) -> Result<Ended, EnrolError> {
    let mut client = CaClient::connect(ca, CaTrust::Bundle(Arc::clone(bundle)), None).await?;
    let mut stream = client.watch_bundle().await?;
    while let Some(fresh) = stream.next().await? {
        *attempt = 0;
        let changed = fresh.roots != bundle.roots;
        if events.send(Event::Bundle(fresh)).await.is_err() || changed {
            return Ok(Ended::RootsChanged);
        }
    }
    Ok(Ended::ByServer)
}
