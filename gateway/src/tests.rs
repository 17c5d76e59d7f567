//! Whole requests: a gateway in this process, an upstream beside it, real sockets between them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::string_slice,
    reason = "a failed test is a panic"
)]

mod end;
mod h2;
mod hygiene;
mod policy;
mod routing;
mod settings;
mod streaming;
mod tcp;
mod tls;
mod upstream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::tcp::Carrier;
use dataplane::telemetry::{AccessLog, RequestMetrics, TcpMetrics};
use dataplane::upstream::Limits;
use dataplane::{Access, Forwarder, PolicyStore, ProxyContext, Role, Router, Upstreams};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use rustls::crypto::CryptoProvider;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::accept::Door;
use crate::config::{GatewayConfig, TimeoutsConfig, WorkloadConfig};
use crate::credentials::certified_key;
use crate::gateway::{EdgeRules, Gateway};
use crate::pace::Timeouts;
use crate::tcp::TcpDoor;
use crate::tls::{TlsServers, TlsTerminator};

/// A gateway with one plain text door, logical port 80, and one TLS door, logical port 443.
pub(super) struct Running {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    /// Logical port 9000, which no usual document opens.
    pub(super) tcp: SocketAddr,
    pub(super) policies: PolicyStore,
    pub(super) registry: prometheus::Registry,
    pub(super) drain: tokio::sync::watch::Sender<bool>,
    pub(super) connections: runtime::lifecycle::ConnectionCount,
    /// DER of the certificate that the TLS servers show.
    pub(super) certificate: Vec<u8>,
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
  - port: {number: 443, name: shop, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop}
  - port: {number: 443, name: bank, protocol: HTTPS}
    hosts: [bank.example.com]
    tls: {mode: SIMPLE, credentialName: shop, minProtocolVersion: TLSV1_3}
  - port: {number: 443, name: bare, protocol: HTTPS}
    hosts: [bare.example.com]
    tls: {mode: SIMPLE, credentialName: nobody-has-it}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: echo}
spec:
  hosts: [echo.my-app.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports:
  - {number: 8080, name: http, protocol: HTTP}
  - {number: 9090, name: grpc, protocol: GRPC}
  - {number: 9999, name: http-nobody, protocol: HTTP}
  endpoints:
  - address: 127.0.0.1
    ports: {http: UPSTREAM, grpc: UPSTREAM, http-nobody: 1}
    labels: {app: echo, version: v1}
";

/// The plainest way to the upstream.
pub(super) const TO_ECHO: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - match: [{headers: {content-type: {prefix: application/grpc}}}]
    route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 9090}}}]
  - route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}}]
";

/// Starts a gateway with these documents beside the usual ones.
pub(super) async fn start(documents: &str) -> Running {
    start_with(documents, Access::default(), EdgeRules::default()).await
}

/// The same, with settings of the process file.
pub(super) async fn start_with(documents: &str, access: Access, rules: EdgeRules) -> Running {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let upstream = upstream::start().await;
    let registry = prometheus::Registry::new();
    let workload = WorkloadConfig::default();
    let context = ProxyContext {
        mesh: Mesh {
            default_namespace: "my-app".to_owned(),
            ..Mesh::default()
        },
        workload: Workload {
            name: workload.name,
            namespace: workload.namespace,
            service_account: workload.service_account,
            labels: workload.labels,
        },
        role: Role::Gateway,
        credentials: None,
        resolver: dataplane::resolve::Resolver::default(),
    };
    let policies = PolicyStore::fixed(context, &registry).unwrap();
    apply(&policies, upstream, documents);
    let (_, reader) = identity::material::channel();
    let metrics = Arc::new(RequestMetrics::new(&registry, 100).unwrap());
    let carrier = Arc::new(Carrier {
        store: policies.clone(),
        material: reader.clone(),
        access: access.clone(),
        metrics: TcpMetrics::new(&registry, &metrics, 100).unwrap(),
        access_log: AccessLog::off(),
        id: None,
    });
    let forwarder = Forwarder::new(Upstreams::new(reader, Limits::default()));
    let router = Router::new(forwarder, access.limits.clone()).unwrap();
    let gateway = Gateway::new(
        policies.clone(),
        router,
        metrics,
        AccessLog::off(),
        access,
        None,
    );
    let gateway = Arc::new(gateway.with_rules(rules));
    let (terminator, certificate) = terminator(&policies);
    let (drain, draining) = tokio::sync::watch::channel(false);
    let connections = runtime::lifecycle::ConnectionCount::default();
    let mut addresses = Vec::new();
    for port in [80, 443, 9000] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let door = Arc::new(Door {
            app: Arc::clone(&gateway),
            port,
            opaque: Some(TcpDoor::new(
                &gateway,
                &carrier,
                port,
                Duration::from_mins(1),
            )),
            tls: Arc::clone(&terminator),
            timeouts: Timeouts::from(TimeoutsConfig::default()),
            places: Arc::new(tokio::sync::Semaphore::new(1000)),
            connections: connections.clone(),
            draining: draining.clone(),
        });
        tokio::spawn(door.accept(listener));
    }
    Running {
        http: addresses[0],
        https: addresses[1],
        tcp: addresses[2],
        policies,
        registry,
        drain,
        connections,
        certificate,
    }
}

fn apply(policies: &PolicyStore, upstream: SocketAddr, documents: &str) {
    let usual = GATEWAY.replace("UPSTREAM", &upstream.port().to_string());
    let file = |name: &str, text: &str| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    let files = vec![file("usual.yaml", &usual), file("test.yaml", documents)];
    assert!(
        policies.apply(Ok(files.into())),
        "{:#?}",
        policies.state().rejected
    );
}

fn terminator(policies: &PolicyStore) -> (Arc<TlsTerminator>, Vec<u8>) {
    let names = ["shop.example.com", "bank.example.com"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let certificate = made.cert.der().to_vec();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let key = certified_key(vec![made.cert.der().clone()], &key, "test".as_ref()).unwrap();
    let certificates = HashMap::from([(Arc::from("shop"), Arc::new(key))]);
    let snapshot = policies.snapshot().unwrap();
    let provider = Arc::clone(CryptoProvider::get_default().unwrap());
    let servers = TlsServers::new(
        snapshot.listeners.as_ref().unwrap(),
        &certificates,
        &provider,
    )
    .unwrap();
    let terminator = Arc::new(TlsTerminator::default());
    terminator.publish(servers);
    (terminator, certificate)
}

/// One HTTP/1 response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// A header of the response.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// What the upstream says it received under `name`.
    pub(super) fn received(&self, name: &str) -> Option<&str> {
        self.body
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

impl Running {
    /// Sends `request` as it is on a connection of its own.
    pub(super) async fn raw(&self, request: &str) -> Answer {
        let mut tcp = TcpStream::connect(self.http).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut tcp).await
    }

    /// GET with these header lines.
    pub(super) async fn get(&self, path: &str, headers: &str) -> Answer {
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: a.example.com\r\n{headers}\r\n"
        ))
        .await
    }
}

/// Reads one response: by content-length, by chunks, or to the end of the connection.
pub(super) async fn read_answer(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Answer {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(answer) = parse(&all, false) {
            return answer;
        }
        let read = tokio::time::timeout(Duration::from_secs(10), io.read(&mut chunk)).await;
        match read.expect("a response within ten seconds") {
            Ok(0) | Err(_) => {
                let text = String::from_utf8_lossy(&all).into_owned();
                return parse(&all, true).unwrap_or_else(|| panic!("no response: {text:?}"));
            }
            Ok(n) => all.extend_from_slice(&chunk[..n]),
        }
    }
}

fn parse(all: &[u8], closed: bool) -> Option<Answer> {
    let text = String::from_utf8_lossy(all).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    let mut answer = Answer {
        status,
        head: head.to_owned(),
        body: rest.to_owned(),
    };
    if (100..200).contains(&status) || [204, 304].contains(&status) {
        return Some(answer);
    }
    if let Some(length) = answer.header("content-length") {
        let complete = rest.len() >= length.parse().ok()? || closed;
        return complete.then_some(answer);
    }
    if answer.header("transfer-encoding").is_some() {
        if !rest.ends_with("0\r\n\r\n") {
            return closed.then_some(answer);
        }
        answer.body = dechunk(rest);
        return Some(answer);
    }
    closed.then_some(answer)
}

fn dechunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        body.push_str(&more[..size]);
        rest = more[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    body
}

#[test]
fn the_configuration_is_a_document() {
    fn is_document<T: runtime::config::ConfigDocument>() {}
    is_document::<GatewayConfig>();
}
