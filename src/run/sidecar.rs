//! The sidecar beside a program under `portcullis run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::declaration::Declaration;
use crate::admin_port;
use crate::directory::{MeshDir, private_dir, write_whole};
use crate::exit::{Context as _, Failure};
use crate::parent;
use crate::ports::{self, FreePorts, loopback};
use crate::process_files::{self, Centre, Dapr, Inbound, SidecarFile};
use crate::up::logs::tail;
use crate::up::part::append_to;
use crate::up::supervisor::send;

const READY_WITHIN: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(20);
/// Longer than the drain in its configuration.
const GRACE: Duration = Duration::from_secs(7);

/// A running sidecar; it ends with this process.
#[derive(Debug)]
pub(crate) struct Sidecar {
    child: Child,
    home: PathBuf,
    log: PathBuf,
    with_dapr: bool,
}

/// Where a sidecar listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SidecarPorts {
    /// For the program.
    pub(crate) outbound: SocketAddr,
    /// For a program that speaks to Dapr.
    pub(crate) dapr: Option<Dapr>,
}

impl Sidecar {
    /// Writes its files and starts it.
    pub(crate) fn start(
        dir: &MeshDir,
        declaration: &Declaration,
        centre: Centre,
        token: &str,
    ) -> Result<Self, Failure> {
        let home = dir.run(&declaration.name);
        let log = home.join("sidecar.log");
        let start = || {
            private_dir(&home.join("state"))?;
            ports::forget(&home.join("state"))?;
            write_whole(&home.join("join.token"), &format!("{token}\n"))?;
            let mut free = FreePorts::default();
            let inbound = match declaration.port {
                Some(port) => Some(Inbound {
                    port,
                    listen: free.pick(None)?,
                    app: loopback(port),
                }),
                None => None,
            };
            let file = process_files::sidecar(&SidecarFile {
                name: &declaration.name,
                namespace: &declaration.namespace,
                service_account: &declaration.service_account,
                labels: &declaration.labels,
                centre,
                inbound,
                outbound: free.pick(None)?,
                dapr: if declaration.dapr {
                    Some(Dapr {
                        http: free.pick(None)?,
                        grpc: free.pick(None)?,
                    })
                } else {
                    None
                },
            });
            drop(free);
            let config = home.join("sidecar.yaml");
            write_whole(&config, &file)?;
            Command::new(std::env::current_exe()?)
                .args(parent::tie())
                .args(["sidecar", "--config"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(append_to(&home.join("access.log"))?)
                .stderr(append_to(&log)?)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        };
        let child = start().context(|| "cannot start the sidecar".to_owned())?;
        Ok(Self {
            child,
            home,
            log,
            with_dapr: declaration.dapr,
        })
    }

    /// Waits until it has a certificate and policies, and tells where it listens.
    pub(crate) async fn ready(&mut self) -> Result<SidecarPorts, Failure> {
        let state = self.home.join("state");
        let with_dapr = self.with_dapr;
        let ready = async {
            loop {
                if let Some(ports) = ports::published(&state)
                    && let Some(admin) = ports.get("admin")
                    && let Ok((status, _)) = admin_port::get(*admin, "/healthz/ready").await
                    && status.is_success()
                    // Read after it was ready: until then the map may lack a listener.
                    && let Some(ports) = ports::published(&state)
                    && let Some(outbound) = ports.get("outbound")
                {
                    let dapr = |name: &str| with_dapr.then(|| ports.get(name).copied()).flatten();
                    let dapr = dapr("dapr-http").zip(dapr("dapr-grpc"));
                    return SidecarPorts {
                        outbound: *outbound,
                        dapr: dapr.map(|(http, grpc)| Dapr { http, grpc }),
                    };
                }
                sleep(READY_POLL).await;
            }
        };
        tokio::select! {
            ready = timeout(READY_WITHIN, ready) => ready.map_err(|_elapsed| {
                self.failed(&format!("is not ready after {} s", READY_WITHIN.as_secs()))
            }),
            status = self.child.wait() => Err(self.failed(&in_words(status))),
        }
    }

    /// Waits until it ends by itself, which it should not.
    pub(crate) async fn died(&mut self) -> String {
        in_words(self.child.wait().await)
    }

    /// Lets it finish what it does, then ends it.
    pub(crate) async fn stop(&mut self) {
        send(&self.child, Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            send(&self.child, Signal::KILL);
            drop(self.child.wait().await);
        }
    }

    /// The log goes with the directory, so its end is shown.
    fn failed(&self, how: &str) -> Failure {
        Failure::new(format!(
            "the sidecar {how}\n  {}",
            tail(&self.log, 8).join("\n  ")
        ))
    }
}

fn in_words(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(
        |error| format!("is lost: {error}"),
        |status| format!("ended: {status}"),
    )
}
