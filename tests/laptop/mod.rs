//! A mesh as a person starts it, `portcullis up` in a directory of its own, for the tests of the command.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::format_push_string,
    reason = "a failed test is a panic, and not every test uses everything"
)]

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod load;
pub(crate) mod raw;
pub(crate) mod workload;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Generous: two cores may be building something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The command under test.
pub(crate) fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    // Neither the developer's own mesh nor a proxy must get in the way.
    command
        .env_remove("XDG_STATE_HOME")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    for proxy in [
        "http_proxy",
        "HTTP_PROXY",
        "no_proxy",
        "NO_PROXY",
        "NODE_OPTIONS",
    ] {
        command.env_remove(proxy);
    }
    command
}

/// A running `portcullis up`.
pub(crate) struct Laptop {
    up: Child,
    lines: Arc<Mutex<Vec<String>>>,
    temp: Arc<TempDir>,
}

impl Laptop {
    /// Starts a mesh on free ports and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--http", "0", "--https", "0"])
    }

    /// Starts a mesh with these arguments and waits until it is ready.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        // Short, as a socket stands in it.
        let temp = tempfile::Builder::new()
            .prefix("pc")
            .tempdir_in("/tmp")
            .unwrap();
        Self::launch(Arc::new(temp), args)
    }

    /// Starts a mesh in the same directory once more.
    pub(crate) fn again(mut self) -> Self {
        self.wait_for_end();
        Self::launch(Arc::clone(&self.temp), &["--http", "0", "--https", "0"])
    }

    fn launch(temp: Arc<TempDir>, args: &[&str]) -> Self {
        let mut up = portcullis()
            .arg("up")
            .arg("--dir")
            .arg(temp.path().join("m"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(up.stdout.take().unwrap()),
            Box::new(up.stderr.take().unwrap()),
        ];
        for stream in streams {
            let lines = Arc::clone(&lines);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        let laptop = Self { up, lines, temp };
        laptop.wait_for("Ready in");
        laptop
    }

    /// The mesh's directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.temp.path().join("m")
    }

    /// A verb on this mesh.
    pub(crate) fn verb(&self, verb: &str) -> Command {
        let mut command = portcullis();
        command.arg(verb).arg("--dir").arg(self.dir());
        command
    }

    /// Everything that `up` has printed.
    pub(crate) fn printed(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until `up` prints a line with this text, and returns that line.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        wait(&format!("`{text}` from `up`"), || {
            let lines = self.lines.lock().unwrap();
            lines
                .iter()
                .find(|line| line.contains(text))
                .cloned()
                .ok_or_else(|| {
                    let mut all = lines.join("\n");
                    all.push_str(&logs(&self.dir()));
                    all
                })
        })
    }

    /// Waits until `up` prints a line about this part with this text.
    pub(crate) fn wait_for_part(&self, part: &str, text: &str) {
        let begin = format!(" {part} ");
        wait(&format!("`{part} … {text}` from `up`"), || {
            let printed = self.printed();
            let found = printed
                .lines()
                .any(|line| line.contains(&begin) && line.contains(text));
            if found { Ok(()) } else { Err(printed) }
        });
    }

    /// `host:port` of the gateway, by `portcullis env`.
    pub(crate) fn gateway(&self) -> String {
        let output = self.verb("env").output().unwrap();
        let text = stdout(output);
        text.trim()
            .strip_prefix("GATEWAY_URL=")
            .expect("GATEWAY_URL")
            .to_owned()
    }

    /// What curl gets from the gateway.
    pub(crate) fn curl(&self, path: &str, args: &[&str]) -> Answer {
        curl(&format!("http://{}{path}", self.gateway()), args)
    }

    /// `status -o json`, and whether it says that all is well.
    pub(crate) fn status(&self) -> (bool, Value) {
        let output = self.verb("status").args(["-o", "json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        (output.status.success(), value)
    }

    /// `services -o json`.
    pub(crate) fn services(&self) -> Vec<Value> {
        let output = self.verb("services").args(["-o", "json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// The pids of all parts by name, as `mesh.json` has them, and of `up`.
    pub(crate) fn pids(&self) -> BTreeMap<String, i32> {
        let record: Value =
            serde_json::from_slice(&fs::read(self.dir().join("mesh.json")).unwrap()).unwrap();
        let parts = record["parts"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|part| {
                let pid = i32::try_from(part["pid"].as_i64()?).unwrap();
                Some((part["name"].as_str().unwrap().to_owned(), pid))
            });
        parts.chain([("up".to_owned(), self.pid())]).collect()
    }

    /// The ports of a part by name, as `mesh.json` has them.
    pub(crate) fn ports(&self, part: &str) -> BTreeMap<String, SocketAddr> {
        let record: Value =
            serde_json::from_slice(&fs::read(self.dir().join("mesh.json")).unwrap()).unwrap();
        let parts = record["parts"].as_array().unwrap();
        let part = parts.iter().find(|known| known["name"] == part);
        serde_json::from_value(part.expect("a part of that name")["ports"].clone()).unwrap()
    }

    /// The operators' ports of all proxies: gateway and sidecars.
    pub(crate) fn proxies(&self) -> Vec<(String, SocketAddr)> {
        let names = self.pids().into_keys();
        names
            .filter(|name| name == "gateway" || name.ends_with("-sidecar"))
            .map(|name| {
                let admin = self.ports(&name)["admin"];
                (name, admin)
            })
            .collect()
    }

    /// The lines of a part's access log.
    pub(crate) fn access_log(&self, part: &str) -> Vec<Value> {
        workload::lines_of(&self.dir().join(format!("logs/{part}.access.log")))
    }

    /// Changes a document of the mesh as editors do: complete, or not there.
    pub(crate) fn edit(&self, document: &str, change: impl FnOnce(String) -> String) {
        let path = self.dir().join(document);
        let text = change(fs::read_to_string(&path).unwrap());
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// The pid of `up`.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.up.id()).unwrap()
    }

    /// Waits until `up` has ended.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let up = &mut self.up;
        wait("the end of `up`", || {
            up.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.printed(), logs(&self.dir()));
        }
        // Its children end with it.
        self.up.kill().ok();
        self.up.wait().ok();
    }
}

/// What the tests of one file share while any of them runs; the last one takes it down.
pub(crate) fn shared<T>(place: &'static Mutex<Weak<T>>, make: impl FnOnce() -> T) -> Arc<T> {
    let mut place = place
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    place.upgrade().unwrap_or_else(|| {
        let new = Arc::new(make());
        *place = Arc::downgrade(&new);
        new
    })
}

/// The value of a metric on an operators' port: the sum of the series that have all these labels.
pub(crate) fn metric(admin: SocketAddr, name: &str, labels: &[&str]) -> f64 {
    let text = curl(&format!("http://{admin}/metrics"), &[]).body;
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

/// What curl printed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks with the real curl.
pub(crate) fn curl(url: &str, args: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["-s", "-i", "-m", "20", "--noproxy", "*"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl is installed by `make test`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "curl {url}: {}: {text}",
        output.status
    );
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status");
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Tries again until it works; the last failure is shown when time is over.
pub(crate) fn wait<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) if begun.elapsed() > PATIENCE => panic!("waited in vain for {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Sends a signal.
pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Whether a process runs; one that has ended and that nobody has waited for does not.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until none of the processes runs, nor any other that names the directory.
pub(crate) fn wait_until_none_runs(pids: &BTreeMap<String, i32>, dir: &Path) {
    wait("all processes to end", || {
        let left: Vec<_> = pids.iter().filter(|(_, pid)| runs(**pid)).collect();
        let others = naming(dir);
        if left.is_empty() && others.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} {others:?}"))
        }
    });
}

/// The processes whose command line names the directory.
fn naming(dir: &Path) -> Vec<String> {
    let dir = dir.display().to_string();
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(|pid| pid.parse::<i32>().is_ok_and(runs))
        .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&dir) && line.contains("portcullis"))
        .collect()
}

/// Standard output of a command that has to succeed.
pub(crate) fn stdout(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {text}{errors}", output.status);
    text
}

/// The ends of all logs of a mesh, for the reader of a failure.
fn logs(dir: &Path) -> String {
    let mut text = String::new();
    let Ok(logs) = fs::read_dir(dir.join("logs")) else {
        return text;
    };
    for log in logs.filter_map(Result::ok).map(|log| log.path()) {
        let all = fs::read_to_string(&log).unwrap_or_default();
        let last: Vec<&str> = all.lines().rev().take(15).collect();
        text.push_str(&format!("\n--- {}\n", log.display()));
        text.extend(last.iter().rev().map(|line| format!("{line}\n")));
    }
    text
}
