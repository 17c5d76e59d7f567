//! Parts that are late, gone or leaving: the mesh waits, goes on, says so, and lets what is under way finish.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use http_body_util::BodyExt as _;
use laptop::app::App;
use laptop::client::{Connection, nothing};
use laptop::workload::{self, SidecarFile, Workload};
use laptop::{Laptop, curl, metric, portcullis, signal, wait};
use rustix::process::Signal;
use serde_json::Value;
use tokio::runtime::Runtime;

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn terminate(mut self) {
        signal(self.pid(), Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn free_port() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

fn identity(admin: SocketAddr) -> Value {
    curl(&format!("http://{admin}/status"), &[]).json()["identity"].clone()
}

fn renew(admin: SocketAddr) {
    let answer = curl(&format!("http://{admin}/identity/renew"), &["-X", "POST"]);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Starts a CA in `home` at a port that stays its own from one start to the next.
fn start_ca(home: &Path, listen: SocketAddr) -> Process {
    let text = format!(
        "apiVersion: portcullis.dev/v1
kind: CaConfig
trustDomain: cluster.local
listen: \"{listen}\"
stateDir: ./state
adminSocket: ./admin.sock
profile: laptop
entries: [./entries]
admin: \"127.0.0.1:0\"
log: {{format: text, level: info}}
"
    );
    fs::write(home.join("ca.yaml"), text).unwrap();
    let child = portcullis()
        .args(["ca", "--config"])
        .arg(home.join("ca.yaml"))
        .stdout(Stdio::null())
        .stderr(fs::File::create(home.join("ca.log")).unwrap())
        .spawn()
        .unwrap();
    Process(child)
}

#[test]
fn a_sidecar_that_starts_before_the_ca_waits_for_it() {
    let temp = tempfile::Builder::new()
        .prefix("pc")
        .tempdir_in("/tmp")
        .unwrap();
    let (ca, home) = (temp.path().join("ca"), temp.path().join("early"));
    for dir in ["ca/entries", "mesh/policies"] {
        let mut private = fs::DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(temp.path().join(dir))
            .unwrap();
    }
    let id = "spiffe://cluster.local/ns/my-app/sa/early";
    fs::write(
        ca.join("entries/early.yaml"),
        format!(
            "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {{name: early}}\n\
             spec: {{spiffeID: \"{id}\", selectors: [\"join_token:early\"]}}\n"
        ),
    )
    .unwrap();
    let listen = free_port();
    let first = start_ca(&ca, listen);
    let token = workload::join_token(&ca.join("admin.sock"), "early", id);
    first.terminate();

    let file = SidecarFile {
        name: "early",
        protocol: "http",
        app: free_port(),
        ca: listen,
        registry: None,
    };
    file.write(&home, &temp.path().join("mesh"), &token);
    let mut early = Process(workload::start_sidecar(&home));
    let admin = wait("the operators' port", || {
        let log = fs::read_to_string(home.join("sidecar.log")).unwrap();
        let ports = workload::ports_in(&home);
        ports["admin"].as_str().map(str::to_owned).ok_or(log)
    });
    let ready = wait("the sidecar to say what it waits for", || {
        let ready = curl(&format!("http://{admin}/healthz/ready"), &[]);
        let waits = ready.body.contains("identity") && ready.body.to_lowercase().contains("ca");
        if ready.status == 503 && waits {
            Ok(ready.json())
        } else {
            Err(format!("{ready:?}"))
        }
    });
    assert_eq!(ready["ready"], false);
    assert_eq!(curl(&format!("http://{admin}/livez"), &[]).status, 200);
    assert_eq!(identity(admin.parse().unwrap())["state"], "waiting");
    assert!(early.0.try_wait().unwrap().is_none());

    let _ca = start_ca(&ca, listen);
    workload::wait_until_ready(&home);
    assert_eq!(identity(admin.parse().unwrap())["spiffeId"], id);
}

#[test]
fn a_dead_ca_stops_no_request_and_is_told() {
    let mesh = Laptop::start();
    let proxies = mesh.proxies();
    // Its supervisor cannot start it again until the file is back.
    let file = mesh.dir().join("ca/ca.yaml");
    let aside = mesh.dir().join("ca/aside.yaml");
    fs::rename(&file, &aside).unwrap();
    signal(mesh.pids()["ca"], Signal::KILL);
    mesh.wait_for_part("ca", "was ended by signal 9");

    let mut renewals = Vec::new();
    for (name, admin) in &proxies {
        let before = identity(*admin);
        renew(*admin);
        let now = wait(&format!("{name} to miss the CA"), || {
            let now = identity(*admin);
            if now["caReachable"] == false && !now["lastError"].is_null() {
                Ok(now)
            } else {
                Err(now.to_string())
            }
        });
        assert_eq!(
            now["serial"], before["serial"],
            "{name} keeps its certificate"
        );
        let ready = curl(&format!("http://{admin}/healthz/ready"), &[]);
        assert_eq!(ready.status, 200, "{name}: {ready:?}");
        renewals.push(before["renewals"].as_u64().unwrap());
    }
    for _ in 0..20 {
        assert_eq!(mesh.curl("/api/orders", &[]).status, 200);
    }
    let (well, status) = mesh.status();
    assert!(!well, "{status:#}");
    let text = String::from_utf8(mesh.verb("status").output().unwrap().stdout).unwrap();
    let ca = text
        .lines()
        .find(|line| line.starts_with("ca "))
        .expect(&text);
    assert!(!ca.contains("yes"), "{text}");

    fs::rename(&aside, &file).unwrap();
    mesh.wait_for_part("ca", "is back");
    for ((name, admin), before) in proxies.iter().zip(renewals) {
        wait(&format!("a renewal of {name}"), || {
            let now = identity(*admin);
            if now["caReachable"] == true && now["renewals"].as_u64().unwrap() > before {
                Ok(())
            } else {
                renew(*admin);
                Err(now.to_string())
            }
        });
    }
    let (well, status) = mesh.status();
    assert!(well, "{status:#}");
}

/// Sends SIGTERM while one answer is held back and another has begun; both must arrive whole.
fn drains(runtime: &Runtime, app: &App, gateway: SocketAddr, pid: i32) {
    runtime.block_on(async {
        let before = app.holding();
        let mut clients = [
            Connection::http1(gateway).await,
            Connection::http2(gateway).await,
            Connection::http1(gateway).await,
            Connection::http2(gateway).await,
        ];
        let [one, two, three, four] = &mut clients;
        let request = |connection: &Connection, path: &str| {
            let request = connection.request("GET", &format!("http://slow.test{path}"));
            request.body(nothing()).unwrap()
        };
        let (first, second) = (request(one, "/held"), request(two, "/held"));
        let begun = [
            three.send(request(three, "/gated")).await.unwrap(),
            four.send(request(four, "/gated")).await.unwrap(),
        ];
        let held = async { tokio::join!(one.send(first), two.send(second)) };
        let ending = async {
            while app.holding() < before + 2 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            signal(pid, Signal::TERM);
            // Until it takes no more connections, or at least has had the time to do harm.
            for _ in 0..50 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            for _ in 0..4 {
                app.open_gate();
            }
        };
        let ((first, second), ()) = tokio::join!(held, ending);
        for answer in [first, second] {
            let answer = answer.expect("a request under way is finished");
            assert_eq!(answer.status(), 200);
            assert_eq!(
                answer.into_body().collect().await.unwrap().to_bytes(),
                "at last"
            );
        }
        for answer in begun {
            let whole = answer
                .into_body()
                .collect()
                .await
                .expect("an answer under way is finished");
            assert_eq!(whole.to_bytes(), "first\nsecond\n");
        }
    });
}

#[test]
fn sigterm_lets_what_is_under_way_finish() {
    let runtime = Runtime::new().unwrap();
    let app = runtime.block_on(App::start());
    let mesh = Laptop::start();
    let gateway: SocketAddr = mesh.gateway().parse().unwrap();

    let mut slow = Workload::join(&mesh, "slow", "http", app.address);
    let pid = i32::try_from(slow.child.id()).unwrap();
    drains(&runtime, &app, gateway, pid);
    let ended = wait("the sidecar to end", || {
        slow.child
            .try_wait()
            .unwrap()
            .ok_or_else(|| "it runs".to_owned())
    });
    assert!(ended.success(), "{ended}: {}", slow.log());
    drop(slow);

    let _slow = Workload::join(&mesh, "slow", "http", app.address);
    let idle = runtime.block_on(async {
        let mut one = Connection::http1(gateway).await;
        let mut two = Connection::http2(gateway).await;
        for connection in [&mut one, &mut two] {
            connection.get("http://slow.test/204").await.unwrap();
        }
        [one, two]
    });
    let pid = mesh.pids()["gateway"];
    drains(&runtime, &app, gateway, pid);
    for connection in idle {
        wait("an idle connection to be closed", || {
            if connection.is_over() {
                Ok(())
            } else {
                Err("it is open".to_owned())
            }
        });
    }
    wait("the gateway to end", || {
        if laptop::runs(pid) {
            Err("it runs".to_owned())
        } else {
            Ok(())
        }
    });
    mesh.wait_for_part("gateway", "is back");
}

#[test]
fn an_application_or_a_sidecar_that_is_gone_is_a_503_with_its_flag() {
    let mesh = Laptop::start();
    let gone = Workload::join(&mesh, "gone", "http", free_port());
    let host = format!("host: {}", gone.host());
    let answer = mesh.curl("/app", &["-H", &host]);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.body.starts_with("upstream connect error"),
        "{answer:?}"
    );
    let line = wait("the sidecar's access log", || {
        let log = gone.access_log();
        log.iter()
            .find(|line| line["path"] == "/app")
            .cloned()
            .ok_or_else(|| format!("{log:#?}"))
    });
    assert_eq!(
        (&line["response_code"], &line["response_flags"]),
        (&503.into(), &"UF,URX".into()),
        "{line:#}"
    );
    let labels = [
        r#"response_code="503""#,
        r#"response_flags="UF,URX""#,
        r#"reporter="destination""#,
    ];
    assert!(metric(gone.admin, "istio_requests_total", &labels) >= 1.0);

    signal(i32::try_from(gone.child.id()).unwrap(), Signal::KILL);
    let line = wait("the gateway to miss the sidecar", || {
        let answer = mesh.curl("/sidecar", &["-H", &host]);
        let log = mesh.access_log("gateway");
        let found = log
            .iter()
            .find(|line| line["path"] == "/sidecar" && line["response_flags"] != "-");
        found.cloned().ok_or_else(|| format!("{answer:?}"))
    });
    // The first one may be on the very connection that the sidecar's end cut.
    let flags = line["response_flags"].as_str().unwrap();
    assert!(flags.starts_with("UF") || flags == "UC", "{line:#}");
    let answer = mesh.curl("/sidecar", &["-H", &host]);
    assert_eq!(answer.status, 503, "{answer:?}");
}
