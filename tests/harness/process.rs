//! One child process: started from its configuration file, watched, signalled, and gone at the end.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use http::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{GLANCE, PATIENCE, Transport, client};

/// How much of a log a failing test shows.
const LOG_TAIL_LINES: usize = 80;

/// `portcullis ca|gateway|sidecar --config <directory>/config.yaml`, with its state in `<directory>/state`.
pub struct Process {
    verb: &'static str,
    directory: PathBuf,
    child: Option<Child>,
    ports: BTreeMap<String, SocketAddr>,
}

impl Process {
    /// Writes the configuration and starts the process; returns before it is ready.
    pub fn start(verb: &'static str, directory: PathBuf, config: &str) -> Self {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.yaml"), config).unwrap();
        let mut process = Self {
            verb,
            directory,
            child: None,
            ports: BTreeMap::new(),
        };
        process.start_again();
        process
    }

    /// Starts the process once more, from the files as they are.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name());
        // Yesterday's ports are not today's.
        let _gone = fs::remove_file(self.state().join("ports.json"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            // The kernel ends the child should this test be killed.
            .args(["--parent", &std::process::id().to_string()])
            .arg(self.verb)
            .arg("--config")
            .arg(self.directory.join("config.yaml"))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// What it is, for messages: the name of its directory.
    pub fn name(&self) -> String {
        self.directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the process runs").id()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log.txt")
    }

    /// Everything it wrote to standard output and standard error, over all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The end of [`Self::log`].
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Waits until it has published its ports.
    pub async fn wait_for_ports(&mut self) {
        let start = Instant::now();
        let path = self.state().join("ports.json");
        loop {
            let published = fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(ports) = published {
                self.ports = ports;
                return;
            }
            self.assert_runs();
            assert!(
                start.elapsed() < PATIENCE,
                "{} published no ports:\n{}",
                self.name(),
                self.log_tail()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until `/healthz/ready` says yes.
    pub async fn wait_until_ready(&mut self) {
        self.wait_for_ports().await;
        let start = Instant::now();
        loop {
            let last =
                match client::get(self.port("admin"), &Transport::Plain, "/healthz/ready").await {
                    Ok(reply) if reply.status == StatusCode::OK => {
                        // A gateway publishes its admin port first and its listeners once they are bound.
                        self.wait_for_ports().await;
                        return;
                    }
                    Ok(reply) => reply.text(),
                    Err(error) => error.to_string(),
                };
            self.assert_runs();
            assert!(
                start.elapsed() < PATIENCE,
                "{} is not ready: {last}\n{}",
                self.name(),
                self.log_tail()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Fails the test if the process has ended by itself.
    pub fn assert_runs(&mut self) {
        let name = self.name();
        let ended = self
            .child
            .as_mut()
            .and_then(|child| child.try_wait().unwrap());
        assert!(
            ended.is_none(),
            "{name} ended with {ended:?}:\n{}",
            self.log_tail()
        );
    }

    /// One of the addresses in `ports.json`, such as `admin` or `inbound:8080`.
    pub fn port(&self, name: &str) -> SocketAddr {
        let found = self.ports.get(name);
        *found.unwrap_or_else(|| {
            panic!(
                "{} has no port `{name}`, only {:?}",
                self.name(),
                self.ports
            )
        })
    }

    /// The JSON of `/status` on the admin port.
    pub async fn status(&self) -> Value {
        let reply = client::get(self.port("admin"), &Transport::Plain, "/status")
            .await
            .unwrap();
        serde_json::from_slice(&reply.body)
            .unwrap_or_else(|error| panic!("{error}: {}", reply.text()))
    }

    /// The text of `/metrics` on the admin port.
    pub async fn metrics(&self) -> String {
        client::get(self.port("admin"), &Transport::Plain, "/metrics")
            .await
            .unwrap()
            .text()
    }

    /// A POST without a body to the admin port, such as `/reload`.
    pub async fn post(&self, path: &str) -> super::Reply {
        let admin = self.port("admin");
        let request = client::request("POST", &admin.to_string(), path);
        let reply = client::send(admin, &Transport::Plain, super::Version::Http1, request)
            .await
            .unwrap();
        assert!(
            reply.status.is_success(),
            "{} answers {} to {path}: {}",
            self.name(),
            reply.status,
            reply.text()
        );
        reply
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself a moment ago.
            let _sent = child.kill();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and the status it ends with.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end(PATIENCE).await
    }

    /// Waits until the process ends by itself.
    pub async fn wait_for_end(&mut self, patience: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            let child = self.child.as_mut().expect("the process runs");
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(
                start.elapsed() < patience,
                "{} does not end:\n{}",
                self.name(),
                self.log_tail()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Replaces the configuration for the next start.
    pub fn write_config(&self, config: &str) {
        fs::write(self.directory.join("config.yaml"), config).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}\n", self.name(), self.log_tail());
        }
    }
}
