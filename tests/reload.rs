//! Edits of the documents of a running mesh: good ones take effect at once, bad ones change nothing, nobody is cut off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use laptop::app::App;
use laptop::client::{Connection, piecemeal};
use laptop::load::Hey;
use laptop::workload::Workload;
use laptop::{Laptop, curl, metric, raw, signal, wait};
use rustix::process::Signal;
use serde_json::Value;

const ROUTES: &str = "policies/demo/virtual-services.yaml";
/// How soon a good edit has to be in force.
const SOON: Duration = Duration::from_secs(1);

fn policy(admin: SocketAddr) -> Value {
    curl(&format!("http://{admin}/status"), &[]).json()["policy"].clone()
}

/// Only the destination named here is left in the demo's routes.
fn all_to_v2(text: &str) -> String {
    text.replace("weight: 90", "weight: 0")
        .replace("weight: 10", "weight: 100")
}

fn wait_until_refused(admin: SocketAddr) -> Value {
    wait("the edit to be refused", || {
        let policy = policy(admin);
        if policy["rejected"].is_null() {
            Err(policy.to_string())
        } else {
            Ok(policy)
        }
    })
}

#[test]
fn a_bad_edit_changes_nothing_and_is_told_with_its_line() {
    let mesh = Laptop::start();
    let proxies = mesh.proxies();
    let gateway = mesh.ports("gateway")["admin"];
    let mut good = String::new();
    mesh.edit(ROUTES, |text| {
        good = text;
        all_to_v2(&good)
    });
    wait("only v2 to answer", || {
        let versions: Vec<Value> = (0..10)
            .map(|_| mesh.curl("/api/products", &[]).json()["version"].clone())
            .collect();
        if versions.iter().all(|version| version == "v2") {
            Ok(())
        } else {
            Err(format!("{versions:?}"))
        }
    });
    let before = policy(gateway);

    let bad = good.replacen("subset: v2", "subset: v9", 1);
    let line = bad
        .lines()
        .position(|line| line.contains("subset: v9"))
        .unwrap()
        + 1;
    mesh.edit(ROUTES, |_| bad);
    for (name, admin) in &proxies {
        let refused = wait_until_refused(*admin);
        let found = &refused["rejected"]["diagnostics"][0];
        assert!(
            found["file"].as_str().unwrap().ends_with(ROUTES),
            "{name}: {refused:#}"
        );
        assert_eq!(found["line"], line, "{name}: {refused:#}");
        assert!(
            found["code"].as_str().unwrap().starts_with("PC"),
            "{name}: {refused:#}"
        );
        assert_eq!(
            metric(*admin, "portcullis_policy_rejected", &[]).to_string(),
            "1"
        );
        assert!(metric(*admin, "portcullis_policy_rejected_total", &[]) >= 1.0);
        assert_eq!(
            curl(&format!("http://{admin}/healthz/ready"), &[]).status,
            200,
            "{name} goes on with what it has"
        );
    }
    let during = policy(gateway);
    assert_eq!(during["generation"], before["generation"]);
    assert_eq!(during["loadedAt"], before["loadedAt"]);
    for _ in 0..10 {
        assert_eq!(mesh.curl("/api/products", &[]).json()["version"], "v2");
    }
    let (well, status) = mesh.status();
    assert!(!well, "{status:#}");
    let text = mesh.verb("status").output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let place = format!("virtual-services.yaml:{line}:");
    assert!(text.contains(&place), "{place}: {text}");
    let log = std::fs::read_to_string(mesh.dir().join("logs/gateway.log")).unwrap();
    assert!(log.contains(&place), "{place}: {log}");

    // Not YAML at all, then no file at all, is no better.
    mesh.edit(ROUTES, |_| "spec: [".to_owned());
    wait("the next bad edit to be counted", || {
        let count = metric(gateway, "portcullis_policy_rejected_total", &[]);
        if count >= 2.0 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    });
    assert_eq!(policy(gateway)["generation"], before["generation"]);

    let begun = Instant::now();
    mesh.edit(ROUTES, |_| good.clone());
    wait("the repaired file to be in force", || {
        let now = policy(gateway);
        if now["rejected"].is_null() && now["generation"].as_u64() > before["generation"].as_u64() {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert_eq!(
        metric(gateway, "portcullis_policy_rejected", &[]).to_string(),
        "0"
    );
}

/// What happens to the demo's routes, one edit after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// Everything to v2, or the usual split again.
    Good,
    /// A subset that nobody defines.
    UnknownSubset,
    /// A field that is none.
    UnknownField,
    /// Not YAML.
    Broken,
}

/// How an edit comes onto the disk.
#[derive(Debug, Clone, Copy)]
enum Save {
    Renamed,
    InPlace,
}

struct Editor<'a> {
    mesh: &'a Laptop,
    good: String,
    count: u64,
}

impl Editor<'_> {
    /// Saves an edit; returns the moment before.
    fn save(&mut self, edit: Edit, save: Save) -> jiff::Timestamp {
        self.count += 1;
        let good = if self.count.is_multiple_of(2) {
            all_to_v2(&self.good)
        } else {
            self.good.clone()
        };
        let text = match edit {
            Edit::Good => good,
            Edit::UnknownSubset => good.replacen("subset: v1", "subset: v9", 1),
            Edit::UnknownField => good.replacen("timeout:", "timeuot:", 1),
            Edit::Broken => format!("{good}---\nkind: [\n"),
        };
        let text = format!("{text}# edit {}\n", self.count);
        let begun = jiff::Timestamp::now();
        match save {
            Save::Renamed => self.mesh.edit(ROUTES, |_| text),
            Save::InPlace => std::fs::write(self.mesh.dir().join(ROUTES), text).unwrap(),
        }
        begun
    }
}

/// Requests on one kept connection until told to stop; none may fail. How many there were.
async fn keep_asking(
    address: SocketAddr,
    version: u8,
    stop: tokio::sync::watch::Receiver<bool>,
) -> usize {
    let mut connection = if version == 2 {
        Connection::http2(address).await
    } else {
        Connection::http1(address).await
    };
    let mut asked = 0;
    while !*stop.borrow() {
        let (head, _) = connection
            .get("http://shop.test/api/products/1")
            .await
            .unwrap_or_else(|error| panic!("HTTP/{version} after {asked} requests: {error:?}"));
        assert_eq!(head.status(), 200, "HTTP/{version} after {asked} requests");
        asked += 1;
    }
    asked
}

/// A call in both directions that stays open over one HTTP/2 connection.
struct Stream {
    _connection: Connection,
    messages: tokio::sync::mpsc::Sender<hyper::body::Frame<bytes::Bytes>>,
    answers: hyper::body::Incoming,
}

impl Stream {
    async fn open(gateway: SocketAddr, host: &str) -> Self {
        let mut connection = Connection::http2(gateway).await;
        let (messages, body) = piecemeal();
        let request = connection
            .request("POST", &format!("http://{host}/tests.Echo/Chat"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let answer = connection.send(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        Self {
            _connection: connection,
            messages,
            answers: answer.into_body(),
        }
    }

    async fn echoes(&mut self, text: &str) {
        let frame = hyper::body::Frame::data(bytes::Bytes::from(text.to_owned()));
        self.messages.send(frame).await.unwrap();
        let mut back = Vec::new();
        while back.len() < text.len() {
            let frame = self.answers.frame().await.expect("an answer").unwrap();
            back.extend_from_slice(frame.data_ref().expect("data, no trailers"));
        }
        assert_eq!(back, text.as_bytes());
    }

    async fn end(mut self) {
        drop(self.messages);
        loop {
            let frame = self.answers.frame().await.expect("trailers").unwrap();
            if let Some(trailers) = frame.trailers_ref() {
                assert_eq!(trailers["grpc-status"], "0");
                return;
            }
        }
    }
}

#[test]
fn edits_under_load_fail_no_request_and_cut_no_stream() {
    const EDITS: [(Edit, Save); 5] = [
        (Edit::Good, Save::Renamed),
        (Edit::UnknownSubset, Save::Renamed),
        (Edit::Good, Save::InPlace),
        (Edit::UnknownField, Save::InPlace),
        (Edit::Broken, Save::Renamed),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(App::start());
    let mesh = Laptop::start();
    let chat = Workload::join(&mesh, "chat", "http", app.address);
    let echo = Workload::join(&mesh, "echo", "grpc", app.address);
    let gateway: SocketAddr = mesh.gateway().parse().unwrap();
    let admin = mesh.ports("gateway")["admin"];
    let proxies = [
        admin,
        mesh.ports("order-service-sidecar")["admin"],
        chat.admin,
    ];

    let mut sockets = [
        raw::websocket(gateway, &chat.host()),
        raw::websocket(chat.outbound, "chat"),
    ];
    let mut stream = runtime.block_on(Stream::open(gateway, &echo.host()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = [1, 2]
        .map(|version| runtime.spawn(keep_asking(gateway, version, stopped.clone())))
        .into();
    let mut load = [
        Hey::start(&format!("http://{gateway}/api/products"), 18, 5, 40),
        Hey::start(&format!("http://{gateway}/api/orders"), 18, 5, 20),
    ];

    let mut editor = Editor {
        mesh: &mesh,
        good: std::fs::read_to_string(mesh.dir().join(ROUTES)).unwrap(),
        count: 0,
    };
    let mut slowest = Duration::ZERO;
    let (mut good, mut bad) = (0, 0);
    let mut requests = 0.0;
    while load[0].runs() {
        let (edit, save) = EDITS[usize::try_from(editor.count).unwrap() % EDITS.len()];
        let before: Vec<Value> = proxies.iter().map(|admin| policy(*admin)).collect();
        let refused_before = metric(admin, "portcullis_policy_rejected_total", &[]);
        let saved = editor.save(edit, save);
        for (admin, before) in proxies.iter().zip(&before) {
            let after = wait(&format!("{edit:?} {save:?} to be noticed"), || {
                let now = policy(*admin);
                let moved = if edit == Edit::Good {
                    now["rejected"].is_null() && now["generation"] != before["generation"]
                } else {
                    !now["rejected"].is_null() && now["rejected"] != before["rejected"]
                };
                if moved { Ok(now) } else { Err(now.to_string()) }
            });
            if edit == Edit::Good {
                assert_ne!(after["edition"], before["edition"]);
                let at: jiff::Timestamp = after["loadedAt"].as_str().unwrap().parse().unwrap();
                let took = at.duration_since(saved).unsigned_abs();
                slowest = slowest.max(took);
            } else {
                // The last good generation goes on, untouched.
                for same in ["generation", "edition", "loadedAt", "documents"] {
                    assert_eq!(after[same], before[same], "{same} after {edit:?}");
                }
            }
        }
        if edit == Edit::Good {
            good += 1;
            assert_eq!(
                metric(admin, "portcullis_policy_rejected", &[]).to_string(),
                "0"
            );
        } else {
            bad += 1;
            assert_eq!(
                metric(admin, "portcullis_policy_rejected", &[]).to_string(),
                "1"
            );
            assert!(metric(admin, "portcullis_policy_rejected_total", &[]) > refused_before);
        }
        // Counters live on from generation to generation.
        let now = metric(admin, "istio_requests_total", &[]);
        assert!(now >= requests, "{now} after {requests}");
        requests = now;
        for socket in &mut sockets {
            raw::echoes(
                socket,
                format!("still there after edit {}?", editor.count).as_bytes(),
            );
        }
        runtime.block_on(stream.echoes(&format!("message {}", editor.count)));
    }
    stop.send(true).unwrap();
    let mut asked = 0;
    for client in clients {
        asked += runtime.block_on(client).unwrap();
    }
    for load in load {
        asked += usize::try_from(load.all_well()).unwrap();
    }
    runtime.block_on(stream.end());
    let counted = metric(admin, "istio_requests_total", &[]);
    eprintln!(
        "{good} good and {bad} bad edits, {asked} requests, the slowest edit in force after {slowest:?}"
    );
    assert!(
        good + bad >= 20,
        "only {good} good and {bad} bad edits in the time"
    );
    assert!(
        slowest <= SOON,
        "an edit was in force after {slowest:?} only"
    );
    let asked = f64::from(u32::try_from(asked).unwrap());
    assert!(
        counted >= asked,
        "{counted} counted of {asked}: a counter was reset"
    );
}

#[test]
fn sighup_and_the_operators_port_reload() {
    let mesh = Laptop::start();
    for part in ["gateway", "order-service-sidecar"] {
        let pid = mesh.pids()[part];
        let admin = mesh.ports(part)["admin"];
        let reloads: [(&str, &dyn Fn()); 2] = [
            ("SIGHUP", &|| signal(pid, Signal::HUP)),
            ("POST /reload", &|| {
                let answer = curl(&format!("http://{admin}/reload"), &["-X", "POST"]);
                assert_eq!(answer.status, 202, "{answer:?}");
            }),
        ];
        for (how, reload) in reloads {
            let before = policy(admin)["generation"].as_u64().unwrap();
            reload();
            wait(&format!("{how} to reload {part}"), || {
                let now = policy(admin)["generation"].as_u64().unwrap();
                if now > before {
                    Ok(())
                } else {
                    Err(now.to_string())
                }
            });
        }
        assert_eq!(mesh.pids()[part], pid, "it is the same process");
    }
    assert_eq!(mesh.curl("/api/orders", &[]).status, 200);
}
