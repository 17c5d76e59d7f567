//! `portcullis up`: a CA, a gateway and a demo, as supervised child processes of this one.

mod announce;
mod complete;
mod documents;
pub(crate) mod logs;
mod mesh;
pub(crate) mod part;
mod plan;
pub(crate) mod supervisor;

use crate::cli::Up;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::lock::{Lock, Taken};
use crate::terminal;

/// Runs the mesh until it is told to stop.
pub(crate) fn run(args: &Up) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    dir.open()?;
    let _held = hold(&dir)?;
    // One thread: the kernel ends a child when the *thread* that started it ends, and this one lasts.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let outcome = runtime.block_on(mesh::run(&dir, args));
    // The record describes a running mesh; without one it would only mislead.
    crate::directory::remove_file(&dir.record())
        .context(|| format!("cannot remove `{}`", dir.record().display()))?;
    outcome
}

/// Takes the directory for this process alone.
fn hold(dir: &MeshDir) -> Result<Lock, Failure> {
    let path = dir.lock();
    match Lock::take(&path).context(|| format!("cannot lock `{}`", path.display()))? {
        Taken::Ours(lock) => Ok(lock),
        Taken::Theirs(pid) => {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            let me = terminal::me();
            let shown = dir.root().display();
            Err(
                Failure::new(format!("a mesh runs in `{shown}` already (pid {pid})")).hint(
                    format!(
                        "look at it: {me} status{flag}    stop it: {me} down{flag}    \
                     or start another with --dir",
                        flag = dir.flag()
                    ),
                ),
            )
        }
    }
}
