//! Opaque TCP: who is let in, what is carried, and what cuts an open connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use identity::dial::{ExpectedServer, client_config, server_name};
use identity::server::{ClientCertificates, server_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::fixture::*;
use crate::config::AppProtocol::Tcp;
use crate::config::Timeouts;

const ISTIO: &[&[u8]] = &[b"istio"];

/// Only service account `order` may connect, as far as policies decide.
const ORDER_MAY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: order-may, namespace: my-app}
spec:
  selector: {matchLabels: {app: db}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/my-app/sa/order]}}]
---
";

/// An application that tells each client `hello` and then repeats it, up to its end and with `bye`.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(greet(stream));
            }
        });
        Self { address, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// The server speaks first.
async fn greet<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    stream.write_all(b"hello ").await?;
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await? {
            0 => break,
            read => stream.write_all(&chunk[..read]).await?,
        }
    }
    stream.write_all(b" bye").await?;
    stream.shutdown().await
}

/// Everything until the end; an error is an end too, and told.
async fn rest<S: AsyncRead + Unpin>(io: &mut S) -> (String, bool) {
    let mut bytes = Vec::new();
    let ended = timeout(SOON, io.read_to_end(&mut bytes))
        .await
        .expect("an end in time");
    (String::from_utf8(bytes).unwrap(), ended.is_ok())
}

/// Says `words`, and half-closes. Who is refused may find that out when he speaks.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, words: &str) -> (String, bool) {
    let spoken = match io.write_all(words.as_bytes()).await {
        Ok(()) => io.shutdown().await,
        failed => failed,
    };
    let (said, ended) = rest(&mut io).await;
    (said, ended && spoken.is_ok())
}

/// As [`converse`], in plaintext. A reset may come before the connection is known to be there.
async fn speak(address: SocketAddr, words: &str) -> (String, bool) {
    match TcpStream::connect(address).await {
        Ok(stream) => converse(stream, words).await,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => silence(),
        Err(error) => panic!("{error}"),
    }
}

async fn plain(db: &Sidecar, words: &str) -> (String, bool) {
    speak(db.inbound, words).await
}

fn complete(words: &str) -> (String, bool) {
    (format!("hello {words} bye"), true)
}

fn silence() -> (String, bool) {
    (String::new(), false)
}

#[tokio::test]
async fn strict_takes_proved_peers_that_the_policies_let_in() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let documents = mtls("STRICT") + ORDER_MAY;
    let db = Sidecar::start(&ca, "db", (app.address, Tcp), &documents);
    let (_writer, order) = ca.material("order");
    let (_other_writer, billing) = ca.material("billing");
    // With and without a name of Istio's in ALPN, and with one that nobody here knows.
    for alpn in [
        ISTIO,
        &[],
        &[b"istio-peer-exchange", b"istio"],
        &[b"postgresql"],
    ] {
        let stream = db.dial(&order, alpn).await.unwrap();
        assert_eq!(converse(stream, "SELECT 1").await, complete("SELECT 1"));
    }
    assert_eq!(app.accepted(), 4);
    let denied = db.dial(&billing, ISTIO).await.unwrap();
    assert_eq!(converse(denied, "SELECT 1").await, silence());
    let stranger = Ca::new().material("order");
    if let Ok(stream) = db.dial(&stranger.1, ISTIO).await {
        assert_eq!(converse(stream, "SELECT 1").await, silence());
    }
    assert_eq!(plain(&db, "SELECT 1").await.0, "");
    assert_eq!(app.accepted(), 4, "nothing of it may reach the application");
}

#[tokio::test]
async fn the_server_may_speak_first() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let (_writer, order) = ca.material("order");
    for mode in ["STRICT", "PERMISSIVE"] {
        let db = Sidecar::start(&ca, "db", (app.address, Tcp), &mtls(mode));
        let mut stream = db.dial(&order, ISTIO).await.unwrap();
        assert_eq!(until(&mut stream, "hello ").await, "hello ");
        drop(stream);
    }
    // Also to plaintext clients, which wait in silence.
    for mode in ["PERMISSIVE", "DISABLE"] {
        let db = Sidecar::start(&ca, "db", (app.address, Tcp), &mtls(mode));
        let mut stream = TcpStream::connect(db.inbound).await.unwrap();
        assert_eq!(until(&mut stream, "hello ").await, "hello ");
    }
}

#[tokio::test]
async fn permissive_tells_the_mesh_from_tls_of_the_applications_own() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let db = Sidecar::start(&ca, "db", (app.address, Tcp), &mtls("PERMISSIVE"));
    let (_writer, order) = ca.material("order");
    let stream = db.dial(&order, ISTIO).await.unwrap();
    assert_eq!(
        converse(stream, "of the mesh").await,
        complete("of the mesh")
    );
    assert_eq!(plain(&db, "in plaintext").await, complete("in plaintext"));
    // What looks like TLS for a byte is no TLS yet.
    assert_eq!(plain(&db, "\u{16}\u{3}").await, complete("\u{16}\u{3}"));
    assert_eq!(
        plain(&db, "\u{16}not TLS at all").await,
        complete("\u{16}not TLS at all")
    );

    // The application ends its own TLS, and sees its own client's hello.
    let (_tls_writer, tls_material) = ca.material("tls-app");
    let acceptor = server_config(&tls_material, ClientCertificates::Request, &[b"own"]);
    let acceptor = TlsAcceptor::from(acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            tokio::spawn(greet(stream));
        }
    });
    let db = Sidecar::start(&ca, "db", (address, Tcp), &mtls("PERMISSIVE"));
    let expected = ExpectedServer::AnyOf(Arc::from([spiffe("tls-app")]));
    let own = TlsConnector::from(client_config(&order, expected, &[b"own"]));
    let tcp = TcpStream::connect(db.inbound).await.unwrap();
    let stream = own.connect(server_name(), tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"own"[..]));
    assert_eq!(converse(stream, "end to end").await, complete("end to end"));
}

#[tokio::test]
async fn who_proves_nothing_has_no_identity_for_a_policy() {
    let (ca, app) = (Ca::new(), Server::start().await);
    for mode in ["PERMISSIVE", "DISABLE"] {
        let documents = mtls(mode) + ORDER_MAY;
        let db = Sidecar::start(&ca, "db", (app.address, Tcp), &documents);
        assert_eq!(plain(&db, "").await.0, "", "{mode}");
        assert_eq!(plain(&db, "SELECT 1").await.0, "", "{mode}");
    }
    assert_eq!(app.accepted(), 0);
}

#[tokio::test]
async fn http_fields_of_a_policy_are_read_as_istio_reads_them_on_tcp() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let (_writer, order) = ca.material("order");
    let policy = |action: &str, rule: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: my-app}}\n\
             spec: {{action: {action}, rules: [{rule}]}}\n---\n"
        )
    };
    let from = "from: [{source: {principals: [cluster.local/ns/my-app/sa/order]}}]";
    for (action, rule, passes) in [
        // An ALLOW rule with a field of HTTP is no rule at all.
        (
            "ALLOW",
            format!("{{{from}, to: [{{operation: {{methods: [GET]}}}}]}}"),
            false,
        ),
        (
            "ALLOW",
            format!("{{{from}, to: [{{operation: {{ports: [\"8080\"]}}}}]}}"),
            true,
        ),
        (
            "ALLOW",
            "{to: [{operation: {ports: [\"1\"]}}]}".to_owned(),
            false,
        ),
        // In a DENY rule the field is left out, and the rest denies.
        (
            "DENY",
            "{to: [{operation: {methods: [POST]}}]}".to_owned(),
            false,
        ),
        (
            "DENY",
            "{to: [{operation: {methods: [POST], ports: [\"1\"]}}]}".to_owned(),
            true,
        ),
        (
            "DENY",
            "{from: [{source: {notPrincipals: [\"*\"]}}]}".to_owned(),
            true,
        ),
        (
            "ALLOW",
            "{when: [{key: source.ip, values: [127.0.0.0/8]}]}".to_owned(),
            true,
        ),
        (
            "DENY",
            "{when: [{key: destination.port, values: [\"8080\"]}]}".to_owned(),
            false,
        ),
    ] {
        let documents = mtls("STRICT") + &policy(action, &rule);
        let db = Sidecar::start(&ca, "db", (app.address, Tcp), &documents);
        let stream = db.dial(&order, ISTIO).await.unwrap();
        let expected = if passes { complete("x") } else { silence() };
        assert_eq!(converse(stream, "x").await, expected, "{action} {rule}");
    }
}

#[tokio::test]
async fn idle_connections_and_silent_strangers_are_ended() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let (_writer, order) = ca.material("order");
    let db = Sidecar::start(&ca, "db", (app.address, Tcp), &mtls("STRICT"));
    let timeouts = Timeouts {
        handshake: Duration::from_millis(500),
        tcp_idle: Duration::from_secs(1),
        ..Timeouts::default()
    };
    let db = db.tcp_port(&timeouts, app.address);
    let mut silent = TcpStream::connect(db.inbound).await.unwrap();
    assert_eq!(rest(&mut silent).await.0, "", "no ClientHello in time");
    let begun = Instant::now();
    let mut stream = db.dial(&order, ISTIO).await.unwrap();
    // While there is a byte now and then, it stays.
    for _ in 0..4 {
        stream.write_all(b"x").await.unwrap();
        assert!(until(&mut stream, "x").await.ends_with('x'));
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(rest(&mut stream).await, silence());
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_application_that_is_gone_is_told_by_a_reset() {
    let ca = Ca::new();
    let (_writer, order) = ca.material("order");
    let db = Sidecar::start(&ca, "db", (nowhere().await, Tcp), &mtls("STRICT"));
    let stream = db.dial(&order, ISTIO).await.unwrap();
    assert_eq!(converse(stream, "x").await, silence());
}

/// A pair of sidecars: `order` with a local port for the service `db`.
fn pair(ca: &Ca, app: SocketAddr, documents: &str) -> (Sidecar, Sidecar, SocketAddr) {
    let db = Sidecar::start(ca, "db", (app, Tcp), documents);
    let declared = service("db", "TCP", &[(db.inbound, "db")]);
    let order = Sidecar::start(ca, "order", (app, Tcp), &declared);
    let local = order.upstream("db", 80);
    (db, order, local)
}

async fn connected(local: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(local).await.unwrap();
    assert_eq!(until(&mut stream, "hello ").await, "hello ");
    stream
}

#[tokio::test]
async fn a_local_port_is_a_verified_connection_to_a_service() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let documents = mtls("STRICT") + ORDER_MAY;
    let (_db, order, local) = pair(&ca, app.address, &documents);
    for name in ["db", "DB.my-app", "db.my-app.svc.cluster.local"] {
        let address = order.upstream(name, 80);
        assert_eq!(speak(address, "x").await, complete("x"), "{name}");
    }
    // A lot of bytes in both directions, and a half-close between.
    let words = "0123456789abcdef".repeat(64 * 1024);
    let stream = TcpStream::connect(local).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let said = words.clone();
    let speaking = tokio::spawn(async move {
        writing.write_all(said.as_bytes()).await.unwrap();
        writing.shutdown().await.unwrap();
        writing
    });
    assert!(rest(&mut reading).await == complete(&words));
    drop(speaking.await.unwrap());
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_a_reset() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let (db, _, _) = pair(&ca, app.address, &mtls("STRICT"));
    // Somebody else's identity is expected; nobody listens; nobody is there; it is HTTP; it is no service at all.
    let documents = service("wrong", "TCP", &[(db.inbound, "billing")])
        + &service("gone", "TCP", &[(nowhere().await, "db")])
        + &service("empty", "TCP", &[])
        + &service("web", "HTTP", &[(db.inbound, "db")]);
    let order = Sidecar::start(&ca, "order", (app.address, Tcp), &documents);
    let before = app.accepted();
    for name in ["wrong", "gone", "empty", "web", "unknown"] {
        let address = order.upstream(name, 80);
        assert_eq!(speak(address, "x").await, silence(), "{name}");
    }
    assert_eq!(app.accepted(), before);
    // Another endpoint is tried where one does not answer.
    let endpoints = [(nowhere().await, "db"), (db.inbound, "db")];
    order.apply(&service("half", "TCP", &endpoints));
    for _ in 0..4 {
        let address = order.upstream("half", 80);
        assert_eq!(speak(address, "x").await, complete("x"));
    }
}

const MANY: usize = 200;

/// Waits until every stream has ended, and says how long the last one took.
async fn all_end(streams: Vec<TcpStream>) -> Duration {
    let begun = Instant::now();
    for mut stream in streams {
        let (said, _) = rest(&mut stream).await;
        assert_eq!(said, "");
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_policy_edit_cuts_open_connections_that_it_refuses_and_no_others() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let documents = mtls("STRICT") + ORDER_MAY;
    let (db, _order, local) = pair(&ca, app.address, &documents);
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(connected(local).await);
    }
    // An edit that changes nothing for them.
    db.apply(&(documents.clone() + &service("other", "HTTP", &[])));
    for stream in &mut streams {
        stream.write_all(b"still here").await.unwrap();
        assert_eq!(until(stream, "still here").await, "still here");
    }
    let billing_may = ORDER_MAY.replace("sa/order", "sa/billing");
    db.apply(&(mtls("STRICT") + &billing_may));
    let took = all_end(streams).await;
    assert!(took < Duration::from_secs(2), "it took {took:?}");
}

#[tokio::test]
async fn plaintext_ends_when_mtls_becomes_strict() {
    let (ca, app) = (Ca::new(), Server::start().await);
    let db = Sidecar::start(&ca, "db", (app.address, Tcp), &mtls("DISABLE"));
    let mut streams = Vec::new();
    for _ in 0..MANY {
        streams.push(connected(db.inbound).await);
    }
    db.apply(&mtls("STRICT"));
    let took = all_end(streams).await;
    assert!(took < Duration::from_secs(2), "it took {took:?}");
}

#[tokio::test]
async fn a_root_that_is_no_longer_trusted_ends_its_connections() {
    for end in ["server", "client"] {
        let (ca, app) = (Ca::new(), Server::start().await);
        let (mut db, mut order, local) = pair(&ca, app.address, &mtls("STRICT"));
        let mut streams = Vec::new();
        for _ in 0..MANY {
            streams.push(connected(local).await);
        }
        // A renewal is no reason to end anything.
        let distrusting = if end == "server" { &mut db } else { &mut order };
        distrusting.writer.publish_bundle(Arc::clone(&ca.bundle));
        streams[0].write_all(b"x").await.unwrap();
        assert_eq!(until(&mut streams[0], "x").await, "x");
        let elsewhere = Arc::clone(&Ca::new().bundle);
        distrusting.writer.publish_bundle(elsewhere);
        let took = all_end(streams).await;
        assert!(took < Duration::from_secs(2), "{end}: it took {took:?}");
    }
}
