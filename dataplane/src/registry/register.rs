//! Keeps one workload registered: for as long as this process lives, with the health of its application.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use identity::SpiffeId;
use identity::material::MaterialReader;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::channel::{Dial, Pause};
use super::config::RegistryConfig;
use super::instance::{Instance, InstanceState};
use super::wire::{self, RegisterRequest};

/// How long the farewell may take; the registry notices a broken stream as well.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often we show that we live, when the registry has not said otherwise: a third of the lease.
const FIRST_BEAT: Duration = Duration::from_secs(2);

/// Whether the application answers, or why it does not. `None` until somebody looked.
pub type ApplicationHealth = Option<Result<(), String>>;

/// How the registration stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteringStatus {
    /// Whether the registry has us.
    pub registered: bool,
    /// Why it has not.
    pub error: Option<String>,
}

/// A registration that is kept up until it is taken back.
#[derive(Debug)]
pub struct Registering {
    status: Arc<ArcSwap<RegisteringStatus>>,
    leave: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Registering {
    /// Starts to register `instance`, whose state is what `health` says, on the current runtime.
    pub fn start(
        config: &RegistryConfig,
        expected: SpiffeId,
        material: MaterialReader,
        instance: Instance,
        health: watch::Receiver<ApplicationHealth>,
    ) -> Self {
        let status = Arc::new(ArcSwap::default());
        let (leave, leaving) = watch::channel(false);
        let task = Task {
            dial: Dial {
                address: config.address,
                expected,
                material,
            },
            instance,
            health,
            leaving,
            status: Arc::clone(&status),
        };
        Self {
            status,
            leave,
            task: tokio::spawn(task.run()),
        }
    }

    /// How it stands.
    pub fn status(&self) -> Arc<ArcSwap<RegisteringStatus>> {
        Arc::clone(&self.status)
    }

    /// Takes the workload out of the mesh, so that nobody is sent to it any more.
    pub async fn leave(self) {
        self.leave.send_replace(true);
        drop(timeout(FAREWELL, self.task).await);
    }
}

struct Task {
    dial: Dial,
    instance: Instance,
    health: watch::Receiver<ApplicationHealth>,
    leaving: watch::Receiver<bool>,
    status: Arc<ArcSwap<RegisteringStatus>>,
}

impl Task {
    async fn run(mut self) {
        let mut leaving = self.leaving.clone();
        let mut pause = Pause::default();
        // Before somebody has looked there is nothing to say.
        tokio::select! {
            looked = looked(&mut self.health) => if !looked { return },
            () = left(&mut leaving) => return,
        }
        loop {
            match self.stay(&mut pause).await {
                Ok(()) => return,
                Err(error) => {
                    let before = self.status.load();
                    if before.registered {
                        tracing::warn!(error, "this workload is not registered any more");
                    } else if before.error.as_ref() != Some(&error) {
                        tracing::info!(error, "this workload is not registered yet");
                    }
                    self.status.store(Arc::new(RegisteringStatus {
                        registered: false,
                        error: Some(error),
                    }));
                }
            }
            tokio::select! {
                () = pause.wait() => {}
                () = left(&mut leaving) => return,
            }
        }
    }

    /// Stays registered over one connection; `Ok` when we have left.
    async fn stay(&mut self, pause: &mut Pause) -> Result<(), String> {
        let mut client = self.dial.connect().await?;
        let (say, said) = mpsc::channel(4);
        let gone = |_closed| "the registry ended the stream".to_owned();
        say.try_send(self.present())
            .map_err(|_full| String::new())?;
        let refused =
            |status: tonic::Status| runtime::escape::escape(status.message(), 300).into_owned();
        let answers = client.register(ReceiverStream::new(said)).await;
        let mut answers = answers.map_err(refused)?.into_inner();
        let mut say = Some(say);
        let mut every = FIRST_BEAT;
        let mut beat = interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                answer = answers.message() => match answer.map_err(refused)? {
                    Some(answer) => {
                        pause.forget();
                        self.status.store(Arc::new(RegisteringStatus {
                            registered: true,
                            error: None,
                        }));
                        let third = Duration::from_millis(u64::from(answer.lease_milliseconds / 3));
                        if third != every && third >= Duration::from_millis(10) {
                            every = third;
                            beat = interval_at(Instant::now() + every, every);
                        }
                    }
                    None if say.is_none() => return Ok(()),
                    None => return Err(gone(())),
                },
                changed = self.health.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let present = self.present();
                    if let Some(say) = &say {
                        say.send(present).await.map_err(|_| gone(()))?;
                    }
                }
                _ = beat.tick() => if let Some(say) = &say {
                    say.send(RegisterRequest { instance: None }).await.map_err(|_| gone(()))?;
                },
                // The end of our side takes us out; the registry then ends the other one.
                () = left(&mut self.leaving), if say.is_some() => say = None,
            }
        }
    }

    /// The instance as it is now.
    fn present(&mut self) -> RegisterRequest {
        let (state, reason) = match &*self.health.borrow_and_update() {
            Some(Ok(())) => (InstanceState::Ready, String::new()),
            Some(Err(reason)) => (InstanceState::Unready, reason.clone()),
            None => (InstanceState::Unready, "nobody has looked yet".to_owned()),
        };
        self.instance.state = state;
        self.instance.reason = reason;
        RegisterRequest {
            instance: Some(wire::Instance::from(&self.instance)),
        }
    }
}

/// Waits until the workload has to go.
async fn left(leaving: &mut watch::Receiver<bool>) {
    // A `Registering` that is dropped without a word leaves as well.
    drop(leaving.wait_for(|leaving| *leaving).await);
}

/// Waits until somebody has looked after the application; false when nobody ever will.
async fn looked(health: &mut watch::Receiver<ApplicationHealth>) -> bool {
    health.wait_for(Option::is_some).await.is_ok()
}
