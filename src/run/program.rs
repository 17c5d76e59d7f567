//! The user's program: its environment, its signals, its end.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::declaration::Declaration;
use super::sidecar::{Sidecar, SidecarPorts};
use crate::cli::Exec;
use crate::directory::{MeshDir, write_whole};
use crate::exit::{Context as _, Exit, Failure};
use crate::lock;
use crate::parent;
use crate::up::supervisor::send;

/// Node before 24 does not look at `http_proxy`; this makes it.
const NODE_PROXY: &str = include_str!("node_proxy.cjs");
/// Loopback stays loopback.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";
/// How often the mesh is looked at.
const MESH_POLL: Duration = Duration::from_millis(500);
/// How long a program that is told to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// Becomes the program; the tie to the parent, made before this, holds for what comes after.
pub(crate) fn exec(args: &Exec) -> Result<Exit, Failure> {
    let Some((program, rest)) = args.program.split_first() else {
        return Err(Failure::usage("there is no program to run"));
    };
    let error = std::process::Command::new(program).args(rest).exec();
    let shown = program.to_string_lossy();
    crate::terminal::complain(&Failure::new(format!("cannot run `{shown}`: {error}")));
    // As shells have it (POSIX 2.8.2): 127 not found, 126 not executable.
    Ok(Exit::Program(
        if error.kind() == std::io::ErrorKind::NotFound {
            127
        } else {
            126
        },
    ))
}

/// Why a run is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The program ended, with this code.
    Program(u8),
    /// `up` is gone.
    MeshStopped,
    /// The sidecar is gone.
    SidecarDied(String),
}

/// The running program.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    signals: Signals,
}

impl Program {
    /// Starts it with the mesh in its environment.
    pub(crate) fn start(
        dir: &MeshDir,
        declaration: &Declaration,
        ports: &SidecarPorts,
        program: &[OsString],
    ) -> Result<Self, Failure> {
        let shim = dir.run(&declaration.name).join("node_proxy.cjs");
        write_whole(&shim, NODE_PROXY).context(|| format!("cannot write `{}`", shim.display()))?;
        let proxy = format!("http://{}", ports.outbound);
        let kept = std::env::var("no_proxy").or_else(|_unset| std::env::var("NO_PROXY"));
        let no_proxy = match kept {
            Ok(kept) if !kept.is_empty() => format!("{NO_PROXY},{kept}"),
            _ => NO_PROXY.to_owned(),
        };
        let node = std::env::var("NODE_OPTIONS").unwrap_or_default();
        let node = format!("{node} --require \"{}\"", shim.display());
        let signals = Signals::listen()?;
        let start = || {
            let dapr = ports.dapr.iter().flat_map(|dapr| {
                let http = ("DAPR_HTTP_PORT", dapr.http.port().to_string());
                [http, ("DAPR_GRPC_PORT", dapr.grpc.port().to_string())]
            });
            Command::new(std::env::current_exe()?)
                .args(parent::tie())
                .args(["exec", "--"])
                .args(program)
                // Programs differ in which of the two they read; Go takes the upper case first.
                .env("http_proxy", &proxy)
                .env("HTTP_PROXY", &proxy)
                .env("no_proxy", &no_proxy)
                .env("NO_PROXY", &no_proxy)
                .env("PORTCULLIS_OUTBOUND", &proxy)
                .envs(dapr)
                .env("NODE_USE_ENV_PROXY", "1")
                .env("NODE_OPTIONS", node.trim())
                .kill_on_drop(true)
                .spawn()
        };
        let child = start().context(|| "cannot start the program".to_owned())?;
        Ok(Self { child, signals })
    }

    /// Waits for the program, handing on signals, while `listening` looks whether it serves.
    pub(crate) async fn until_end(
        &mut self,
        dir: &MeshDir,
        sidecar: &mut Sidecar,
        listening: impl Future<Output = ()>,
    ) -> Result<End, Failure> {
        tokio::pin!(listening);
        let mut waiting = true;
        loop {
            tokio::select! {
                status = self.child.wait() => {
                    let status = status.context(|| "the program is lost".to_owned())?;
                    return Ok(End::Program(code(status)));
                }
                signal = self.signals.next() => send(&self.child, signal),
                () = &mut listening, if waiting => waiting = false,
                how = sidecar.died() => return Ok(End::SidecarDied(how)),
                () = until_mesh_stops(dir) => return Ok(End::MeshStopped),
            }
        }
    }

    /// Ends the program if it still runs.
    pub(crate) async fn end(&mut self) {
        send(&self.child, Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            send(&self.child, Signal::KILL);
            drop(self.child.wait().await);
        }
    }
}

async fn until_mesh_stops(dir: &MeshDir) {
    while !matches!(lock::holder(&dir.lock()), Ok(None)) {
        sleep(MESH_POLL).await;
    }
}

/// The code that a shell would give: 128 and the signal's number for a program that a signal ended.
fn code(status: ExitStatus) -> u8 {
    let signalled = status.signal().map(|signal| 128_i32.saturating_add(signal));
    status
        .code()
        .or(signalled)
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

/// Signals that are the program's.
#[derive(Debug)]
struct Signals {
    streams: Vec<(Signal, SignalStream)>,
    /// Ctrl-C in a terminal reaches the program by itself, as it is in our process group.
    interrupts_arrive: bool,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let kinds = [
            (Signal::INT, SignalKind::interrupt()),
            (Signal::QUIT, SignalKind::quit()),
            (Signal::TERM, SignalKind::terminate()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::USR1, SignalKind::user_defined1()),
            (Signal::USR2, SignalKind::user_defined2()),
        ];
        // What was to be ignored stays so; the program inherits that.
        let stays = parent::outlives_the_terminal();
        let kinds = kinds
            .into_iter()
            .filter(|(ours, _)| !(stays && *ours == Signal::HUP));
        let listen = |(ours, kind)| signal(kind).map(|stream| (ours, stream));
        let streams = kinds.map(listen).collect::<Result<_, _>>();
        Ok(Self {
            streams: streams.context(|| "cannot listen for signals".to_owned())?,
            interrupts_arrive: std::io::stdin().is_terminal(),
        })
    }

    /// The next signal that the program has not had by itself.
    async fn next(&mut self) -> Signal {
        loop {
            let signal = std::future::poll_fn(|context| {
                let mut ready = self.streams.iter_mut().filter_map(|(signal, stream)| {
                    stream.poll_recv(context).is_ready().then_some(*signal)
                });
                ready
                    .next()
                    .map_or(std::task::Poll::Pending, std::task::Poll::Ready)
            })
            .await;
            let by_terminal = signal == Signal::INT || signal == Signal::QUIT;
            if !(by_terminal && self.interrupts_arrive) {
                return signal;
            }
        }
    }
}
