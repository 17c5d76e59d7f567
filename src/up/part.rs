//! What one child process is: its arguments, its files and how it shows that it is ready.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::process::{Child, Command};

use crate::parent;
use crate::ports::{self, Ports};
use crate::record::Kind;

/// How a child shows that it is ready.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// `/healthz/ready` on the admin port that it publishes in this state directory.
    AdminPort(PathBuf),
    /// `/health/ready` where it serves.
    Http(SocketAddr),
}

/// One child process of `up`.
#[derive(Debug)]
pub(crate) struct Part {
    /// Unique in the mesh.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// The command line after the executable; read at every start.
    pub(crate) args: Mutex<Vec<String>>,
    /// Where its standard error goes.
    pub(crate) log: PathBuf,
    /// Where its standard output goes: the access log of a proxy.
    pub(crate) access_log: PathBuf,
    /// How it shows that it is ready.
    pub(crate) probe: Probe,
    /// A listening socket that it inherits, so that its port is taken as long as the mesh runs.
    pub(crate) socket: Option<Arc<TcpListener>>,
}

impl Part {
    /// A program that is configured by one file.
    pub(crate) fn program(verb: &str, name: String, kind: Kind, home: &Path, logs: &Path) -> Self {
        let config = home.join(format!("{verb}.yaml"));
        let args = vec![
            verb.to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        Self {
            kind,
            args: Mutex::new(args),
            log: logs.join(format!("{name}.log")),
            access_log: logs.join(format!("{name}.access.log")),
            probe: Probe::AdminPort(home.join("state")),
            socket: None,
            name,
        }
    }

    /// A demo service on a socket of ours.
    pub(crate) fn app(
        name: String,
        args: Vec<String>,
        socket: Arc<TcpListener>,
        at: SocketAddr,
        logs: &Path,
    ) -> Self {
        Self {
            kind: Kind::App,
            args: Mutex::new(args),
            log: logs.join(format!("{name}.log")),
            access_log: logs.join(format!("{name}.access.log")),
            probe: Probe::Http(at),
            socket: Some(socket),
            name,
        }
    }

    /// Starts the child; it ends with this process.
    pub(crate) fn start(&self, executable: &Path) -> io::Result<Child> {
        if let Probe::AdminPort(state) = &self.probe {
            ports::forget(state)?;
        }
        let input = match &self.socket {
            Some(socket) => Stdio::from(OwnedFd::from(socket.try_clone()?)),
            None => Stdio::null(),
        };
        Command::new(executable)
            .args(parent::tie())
            .args(self.args.lock().iter())
            .stdin(input)
            .stdout(append_to(&self.access_log)?)
            .stderr(append_to(&self.log)?)
            // Ctrl-C in the terminal is for `up`, which stops its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// The ports by which others reach it, once it has published them.
    pub(crate) fn ports(&self) -> Option<Ports> {
        match &self.probe {
            Probe::AdminPort(state) => ports::published(state),
            Probe::Http(address) => Some(Ports::from([("http".to_owned(), *address)])),
        }
    }

    /// Where to ask whether it is ready.
    pub(crate) fn readiness(&self) -> Option<(SocketAddr, &'static str)> {
        let ports = self.ports()?;
        let (name, path) = match self.probe {
            Probe::AdminPort(_) => ("admin", "/healthz/ready"),
            Probe::Http(_) => ("http", "/health/ready"),
        };
        Some((*ports.get(name)?, path))
    }
}

/// A file that grows at its end, whoever else shortens it meanwhile.
pub(crate) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
