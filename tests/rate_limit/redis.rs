//! A Redis of the test's own, on a free port.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use crate::harness::eventually;

/// `redis-server`; it ends with the value, also while it is paused.
pub struct Redis {
    child: Child,
    pub address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Redis {
    /// Starts it; none, and why, where there is no `redis-server`.
    pub async fn start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let directory = tempfile::tempdir().unwrap();
        let child = match spawn(address, directory.path()) {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: there is no `redis-server`; `make setup-test` installs it");
                return None;
            }
            Err(error) => panic!("`redis-server` cannot be started: {error}"),
        };
        let redis = Self {
            child,
            address,
            directory,
        };
        redis.listens().await;
        Some(redis)
    }

    async fn listens(&self) {
        let connect = || async { TcpStream::connect(self.address).await.ok() };
        drop(eventually("Redis listens", connect).await);
    }

    /// It keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`kill`](Self::kill), on the same port and empty.
    pub async fn start_again(&mut self) {
        self.child = spawn(self.address, self.directory.path()).unwrap();
        self.listens().await;
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(address: SocketAddr, directory: &Path) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &address.port().to_string()])
        .args(["--bind", "127.0.0.1", "--daemonize", "no"])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
}
