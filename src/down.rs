//! `portcullis down`: stops the mesh of a directory, and removes the directory if asked to.

use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::Down;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Exit, Failure};
use crate::lock::{self, Lock, Taken};
use crate::terminal;

/// A gateway drains for seconds, then its sidecars, then the CA.
const PATIENCE: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(50);

/// Stops the mesh, if there is one.
pub(crate) fn run(args: &Down) -> Result<Exit, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let shown = dir.root().display();
    let running = lock::holder(&dir.lock()).context(|| format!("cannot look into `{shown}`"))?;
    match running {
        Some(pid) => {
            stop(&dir, pid)?;
            terminal::line(format_args!("The mesh in {shown} (pid {pid}) has stopped."));
        }
        None => terminal::line(format_args!("No mesh runs in {shown}.")),
    }
    if args.purge {
        purge(&dir)?;
    }
    Ok(Exit::Fine)
}

fn stop(dir: &MeshDir, pid: i32) -> Result<(), Failure> {
    let doing = || format!("cannot stop the mesh (pid {pid})");
    let handle = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    if let Some(Ok(handle)) = handle {
        // The descriptor stands for one process for ever; if that process still has the lock, it is the mesh.
        if lock::holder(&dir.lock()).context(doing)? == Some(pid) {
            pidfd_send_signal(&handle, Signal::TERM).context(doing)?;
        }
    }
    let begun = Instant::now();
    while lock::holder(&dir.lock()).context(doing)? == Some(pid) {
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!("the mesh (pid {pid}) does not stop"))
                .hint(format!("look at its terminal, or: kill -KILL {pid}")));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

fn purge(dir: &MeshDir) -> Result<(), Failure> {
    let shown = dir.root().display();
    if !dir.root().exists() {
        return Ok(());
    }
    if !dir.is_mesh() {
        return Err(Failure::new(format!(
            "`{shown}` holds no mesh; nothing is removed"
        )));
    }
    let path = dir.lock();
    let Taken::Ours(_held) = Lock::take(&path).context(|| format!("cannot lock `{shown}`"))? else {
        return Err(Failure::new(format!(
            "a mesh has just started in `{shown}`; nothing is removed"
        )));
    };
    let left = dir.purge()?;
    if left.is_empty() {
        terminal::line(format_args!("Removed {shown}."));
    } else {
        let left = left.join(", ");
        terminal::line(format_args!(
            "Removed the mesh from {shown}; not ours, so left: {left}"
        ));
    }
    Ok(())
}
