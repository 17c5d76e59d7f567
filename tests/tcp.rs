//! Opaque TCP through real sidecars: who may connect, what is told about it, and how soon an edit cuts it off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod harness;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::{Mesh, MeshSpec, PATIENCE, Process, WorkloadSpec, eventually};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How soon an edit has to have ended what it refuses.
const AT_ONCE: Duration = Duration::from_secs(2);
const MANY: usize = 200;

/// Only these service accounts may connect to `db`.
fn may_connect(accounts: &[&str]) -> String {
    let principals: Vec<_> = accounts
        .iter()
        .map(|account| format!("cluster.local/ns/my-app/sa/{account}"))
        .collect();
    format!(
        "apiVersion: security.istio.io/v1\n\
         kind: AuthorizationPolicy\n\
         metadata: {{name: db, namespace: my-app}}\n\
         spec:\n\
         \x20 selector: {{matchLabels: {{app: db}}}}\n\
         \x20 rules:\n\
         \x20 - from: [{{source: {{principals: [{}]}}}}]\n\
         \x20   to: [{{operation: {{ports: [\"8080\"]}}}}]\n",
        principals.join(", ")
    )
}

const STRICT: &str = "\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: my-app}
spec: {mtls: {mode: STRICT}}
";

/// An application that greets, repeats what it hears, and says farewell when its client has said everything.
async fn database() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"hello ").await?;
                let mut chunk = [0; 4096];
                loop {
                    match stream.read(&mut chunk).await? {
                        0 => break,
                        read => stream.write_all(&chunk[..read]).await?,
                    }
                }
                stream.write_all(b" bye").await
            });
        }
    });
    address
}

async fn mesh() -> Mesh {
    let db = database().await;
    Mesh::start(
        MeshSpec::new()
            .policy("strict.yaml", STRICT)
            .policy("db.yaml", may_connect(&["order"]))
            .workload(WorkloadSpec::new("db").protocol("tcp").app(db))
            .workload(WorkloadSpec::new("order").upstream("db"))
            .workload(WorkloadSpec::new("billing").upstream("db")),
    )
    .await
}

/// What a client reads that says `words` and then closes its half. Who is refused is reset: he may find that out when he
/// connects, speaks or listens.
async fn converse(local: SocketAddr, words: &str) -> String {
    let mut stream = match TcpStream::connect(local).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return String::new(),
        Err(error) => panic!("{error}"),
    };
    if stream.write_all(words.as_bytes()).await.is_ok() {
        let _refused = stream.shutdown().await;
    }
    rest(&mut stream).await
}

/// What is read until the end, be it a reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("an end in time");
    String::from_utf8(bytes).unwrap()
}

/// A connection on which the application has spoken.
async fn connected(local: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(local).await.unwrap();
    let mut hello = [0; 6];
    timeout(PATIENCE, stream.read_exact(&mut hello))
        .await
        .expect("a greeting in time")
        .unwrap();
    assert_eq!(&hello, b"hello ");
    stream
}

/// The value of the one sample of `metric` that has all of `labels`.
async fn sample(process: &Process, metric: &str, labels: &[&str]) -> Option<f64> {
    let text = process.metrics().await;
    let line = text
        .lines()
        .find(|line| line.starts_with(metric) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn wait_for_sample(process: &Process, metric: &str, labels: &[&str], value: f64) {
    let what = format!("{} shows {metric}{labels:?} {value}", process.name());
    eventually(&what, async || {
        let found = sample(process, metric, labels).await?;
        ((found - value).abs() < f64::EPSILON).then_some(())
    })
    .await;
}

/// The access log lines of TCP connections.
fn lines(process: &Process) -> Vec<Value> {
    let log = process.log();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["protocol"] == "TCP")
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_connect_and_what_is_told_about_it() {
    let mesh = mesh().await;
    let (db, order, billing) = (
        mesh.sidecar("db"),
        mesh.sidecar("order"),
        mesh.sidecar("billing"),
    );
    assert_eq!(
        converse(order.upstream("db"), "SELECT 1").await,
        "hello SELECT 1 bye"
    );
    assert_eq!(converse(billing.upstream("db"), "SELECT 1").await, "");
    // Past every sidecar, in plaintext.
    assert_eq!(converse(db.inbound(), "SELECT 1").await, "");

    let from_order = [
        "reporter=\"destination\"",
        "source_principal=\"spiffe://cluster.local/ns/my-app/sa/order\"",
        "destination_workload=\"db\"",
        "destination_service=\"db.my-app.svc.cluster.local\"",
        "request_protocol=\"tcp\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"mutual_tls\"",
    ];
    for (metric, value) in [
        ("istio_tcp_connections_opened_total", 1.0),
        ("istio_tcp_connections_closed_total", 1.0),
        ("istio_tcp_received_bytes_total", 8.0),
        ("istio_tcp_sent_bytes_total", 18.0),
    ] {
        wait_for_sample(&db.process, metric, &from_order, value).await;
    }
    let denied = [
        "source_principal=\"spiffe://cluster.local/ns/my-app/sa/billing\"",
        "response_flags=\"PD\"",
    ];
    wait_for_sample(
        &db.process,
        "istio_tcp_connections_closed_total",
        &denied,
        1.0,
    )
    .await;
    let from_source = [
        "reporter=\"source\"",
        "source_workload=\"order\"",
        "destination_workload=\"db\"",
        "destination_service_name=\"db\"",
        "connection_security_policy=\"unknown\"",
    ];
    let sent = "istio_tcp_sent_bytes_total";
    wait_for_sample(&order.process, sent, &from_source, 18.0).await;

    let told = eventually("both connections are in the access log", async || {
        let told = lines(&db.process);
        (told.len() >= 2).then_some(told)
    })
    .await;
    let of = |account: &str| {
        let id = format!("spiffe://cluster.local/ns/my-app/sa/{account}");
        let line = told.iter().find(|line| line["source_principal"] == *id);
        line.unwrap_or_else(|| panic!("{account}: {told:#?}"))
            .clone()
    };
    let allowed = of("order");
    assert_eq!(allowed["policy"], "ns[my-app]-policy[db]-rule[0]");
    assert_eq!(allowed["bytes_sent"], 18);
    assert_eq!(allowed["connection_termination_details"], Value::Null);
    let denied = of("billing");
    assert_eq!(denied["response_flags"], "PD");
    assert_eq!(
        denied["connection_termination_details"],
        "rbac_access_denied_matched_policy[none]"
    );
    assert!(denied["decision_id"].is_string(), "{denied:#}");
    let outbound = eventually("the caller's sidecar has logged it too", async || {
        lines(&order.process).pop()
    })
    .await;
    assert_eq!(
        outbound["upstream_cluster"],
        "outbound|80||db.my-app.svc.cluster.local"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_cuts_what_it_refuses_at_once() {
    let mesh = mesh().await;
    let local = mesh.sidecar("order").upstream("db");
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(connected(local).await);
    }
    // An edit that allows one more, and takes nothing away.
    mesh.write_policy("db.yaml", &may_connect(&["order", "billing"]))
        .await;
    assert_eq!(
        converse(mesh.sidecar("billing").upstream("db"), "x").await,
        "hello x bye"
    );
    for stream in &mut streams {
        stream.write_all(b"still").await.unwrap();
        let mut still = [0; 5];
        stream.read_exact(&mut still).await.unwrap();
        assert_eq!(&still, b"still");
    }

    // Nobody is told of this one: the directory is watched.
    let file = mesh.path().join("policies/db.yaml");
    let begun = Instant::now();
    std::fs::write(file, may_connect(&["billing"])).unwrap();
    let mut ends = JoinSet::new();
    for mut stream in streams {
        ends.spawn(async move { rest(&mut stream).await });
    }
    for said in ends.join_all().await {
        assert_eq!(said, "");
    }
    let took = begun.elapsed();
    eprintln!("{MANY} connections were cut {took:?} after the edit");
    assert!(took < AT_ONCE, "it took {took:?}");
    assert_eq!(converse(local, "x").await, "");
    assert_eq!(
        converse(mesh.sidecar("billing").upstream("db"), "x").await,
        "hello x bye"
    );
}
