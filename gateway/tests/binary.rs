//! The binary as operators meet it: mistakes, waiting, the end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis-gateway");

fn configuration(directory: &Path, listeners: &str) -> std::path::PathBuf {
    let file = directory.join("gateway.yaml");
    let text = format!(
        "apiVersion: portcullis.dev/v1\nkind: GatewayConfig\n\
         identity: {{trustDomain: cluster.local, ca: 'https://127.0.0.1:9'}}\n\
         stateDir: ./state\npolicies: [./policies]\ndefaultNamespace: my-app\n\
         listeners: {listeners}\nadmin: 127.0.0.1:0\ndrain: {{timeout: 5s}}\n"
    );
    fs::create_dir_all(directory.join("policies")).unwrap();
    fs::write(&file, text).unwrap();
    file
}

/// Ends the child with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(
        tcp,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "it did not happen within 20 seconds"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_mistake_in_the_file_is_shown_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = configuration(directory.path(), "{80: '127.0.0.1:0'}\nlistner: 1");
    let output = Command::new(BINARY)
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("Caused by"), "in one line: {error}");
    assert!(error.contains("gateway.yaml:8:"), "{error}");
    assert!(error.contains("listner"), "{error}");
}

#[test]
fn without_a_ca_it_says_what_it_waits_for_and_ends_at_once_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    // Free now; the gateway must not take it before it is ready.
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = reserved.local_addr().unwrap();
    drop(reserved);
    let file = configuration(directory.path(), &format!("{{80: '{listener}'}}"));
    let child = Command::new(BINARY)
        .arg("--config")
        .arg(&file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    let ports = directory.path().join("state/ports.json");
    let admin: SocketAddr = eventually(|| {
        let text = fs::read_to_string(&ports).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
        ports.get("admin")?.as_str()?.parse().ok()
    });
    let ready = eventually(|| {
        let answer = get(admin, "/healthz/ready");
        answer.contains("\"identity\"").then_some(answer)
    });
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(get(admin, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(admin, "/status").contains("\"waiting\""));
    assert!(get(admin, "/metrics").contains("portcullis_build_info"));
    assert!(
        TcpStream::connect(listener).is_err(),
        "nothing is served before it is ready"
    );

    let begun = Instant::now();
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = eventually(|| running.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}
