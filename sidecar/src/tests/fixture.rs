//! A small trust domain, sidecars without a CA or files, applications, and clients that speak bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use dataplane::chaos::Chaos;
use dataplane::config::ForwardedPath;
use dataplane::shed::Shedder;
use dataplane::sizes::SizeLimits;
use dataplane::tcp::Carrier;
use dataplane::telemetry::{AccessLog, RequestMetrics, TcpMetrics};
use dataplane::upstream::Limits as UpstreamLimits;
use dataplane::{Access, Forwarder, PolicyStore, ProxyContext, Role, Router, Upstreams};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::bundle::TrustBundle;
use identity::dial::{ExpectedServer, client_config, server_name};
use identity::key::PrivateKey;
use identity::material::{MaterialReader, MaterialWriter};
use identity::svid::Svid;
use identity::{SpiffeId, TrustDomain};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use runtime::health::Readiness;
use runtime::lifecycle::Lifecycle;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::accept::accept;
use crate::config::{AppProtocol, Inbound as Port, Limits, Timeouts, Upstream};
use crate::dapr::Dapr;
use crate::http::HttpServer;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::proxy::{Names, Proxy};
use crate::tcp::{TcpInbound, TcpOutbound};

/// Nothing here takes longer.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn spiffe(account: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/ns/my-app/sa/{account}")).unwrap()
}

/// A trust domain with one root.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(super) bundle: Arc<TrustBundle>,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let domain = TrustDomain::parse("cluster.local").unwrap();
        let bundle = TrustBundle::new(domain, 1, vec![root.der().clone()]).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            bundle: Arc::new(bundle),
        }
    }

    pub(super) fn material(&self, account: &str) -> (MaterialWriter, MaterialReader) {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let name = spiffe(account).as_str().try_into().unwrap();
        params.subject_alt_names = vec![SanType::URI(name)];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKey::from_pkcs8_der(&key.serialize_der()).unwrap();
        let svid = Arc::new(Svid::new(vec![leaf], key).unwrap());
        let (mut writer, reader) = identity::material::channel();
        writer.publish(svid, Arc::clone(&self.bundle)).unwrap();
        (writer, reader)
    }
}

/// A running sidecar of service account `account`, which is its workload's name and `app` label too.
pub(super) struct Sidecar {
    pub(super) inbound: SocketAddr,
    pub(super) outbound: SocketAddr,
    pub(super) life: Lifecycle,
    pub(super) writer: MaterialWriter,
    pub(super) proxy: Arc<Proxy>,
}

impl Sidecar {
    pub(super) fn start(
        ca: &Ca,
        account: &str,
        app: (SocketAddr, AppProtocol),
        documents: &str,
    ) -> Self {
        let settings = (Access::default(), ForwardedPath::default());
        Self::start_with(ca, account, app, documents, settings)
    }

    /// The same, with settings of the process file.
    pub(super) fn start_with(
        ca: &Ca,
        account: &str,
        app: (SocketAddr, AppProtocol),
        documents: &str,
        (access, path): (Access, ForwardedPath),
    ) -> Self {
        let (writer, material) = ca.material(account);
        let workload = Workload {
            name: account.to_owned(),
            namespace: "my-app".to_owned(),
            service_account: account.to_owned(),
            labels: [("app".to_owned(), account.to_owned())].into(),
        };
        let mesh = Mesh {
            default_namespace: "my-app".to_owned(),
            ..Mesh::default()
        };
        let registry = prometheus::Registry::new();
        let context = ProxyContext {
            mesh,
            workload: workload.clone(),
            role: Role::Sidecar,
            credentials: None,
            resolver: dataplane::resolve::Resolver::default(),
        };
        let store = PolicyStore::fixed(context, &registry).unwrap();
        let files = vec![SourceFile::new("test.yaml", documents)];
        assert!(store.apply(Ok(files.into())), "{:?}", store.state());
        let life = Lifecycle::new(SOON);
        let metrics = RequestMetrics::new(&registry, 100).unwrap();
        let carrier = Carrier {
            store: store.clone(),
            material: material.clone(),
            access: access.clone(),
            metrics: TcpMetrics::new(&registry, &metrics, 100).unwrap(),
            access_log: AccessLog::off(),
            id: Some(spiffe(account)),
        };
        let upstreams = Upstreams::new(material.clone(), UpstreamLimits::default());
        let forwarder = Forwarder::new(upstreams);
        let proxy = Arc::new(Proxy {
            store,
            tcp: Arc::new(carrier),
            material,
            router: Router::new(forwarder.clone(), access.limits.clone()).unwrap(),
            forwarder,
            access,
            chaos: Chaos::allowed(account, &registry).unwrap(),
            shedder: Shedder::default(),
            sizes: SizeLimits::default(),
            path,
            metrics,
            access_log: AccessLog::off(),
            life: life.clone(),
            id: spiffe(account),
            workload,
            gateways: vec![spiffe("gateway")],
            party: dataplane::telemetry::PartyId::default(),
            names: ArcSwap::from_pointee(Names::default()),
        });
        let timeouts = Timeouts {
            handshake: Duration::from_secs(2),
            request_head: Duration::from_secs(1),
            ..Timeouts::default()
        };
        let port = Port {
            port: 8080,
            protocol: app.1,
            listen: "127.0.0.1:0".parse().unwrap(),
            app: app.0,
        };
        let server = || HttpServer::new(&Limits::default(), timeouts, life.clone());
        let outbound = Arc::new(Outbound::new(Arc::clone(&proxy), server()));
        let places = || Arc::new(Semaphore::new(1000));
        let (inbound_listener, inbound_address) = listener();
        let (outbound_listener, outbound_address) = listener();
        if port.protocol == AppProtocol::Tcp {
            let inbound = Arc::new(TcpInbound::new(Arc::clone(&proxy), &timeouts, &port));
            let serve = move |tcp, remote| Arc::clone(&inbound).serve(tcp, remote);
            tokio::spawn(accept(inbound_listener, places(), life.clone(), serve));
        } else {
            let inbound = Inbound::new(Arc::clone(&proxy), server(), timeouts.handshake, &port);
            let inbound = Arc::new(inbound);
            let serve = move |tcp, remote| Arc::clone(&inbound).serve(tcp, remote);
            tokio::spawn(accept(inbound_listener, places(), life.clone(), serve));
        }
        tokio::spawn(accept(
            outbound_listener,
            places(),
            life.clone(),
            move |tcp, remote| Arc::clone(&outbound).serve(tcp, remote),
        ));
        Self {
            inbound: inbound_address,
            outbound: outbound_address,
            life,
            writer,
            proxy,
        }
    }

    /// A TLS connection to the inbound port, as `reader`'s identity.
    pub(super) async fn dial(
        &self,
        reader: &MaterialReader,
        alpn: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let expected = ExpectedServer::AnyOf(Arc::from([self.proxy.id.clone()]));
        let tcp = TcpStream::connect(self.inbound).await?;
        TlsConnector::from(client_config(reader, expected, alpn))
            .connect(server_name(), tcp)
            .await
    }

    /// A local port for `service`, as its application would connect to.
    pub(super) fn upstream(&self, service: &str, port: u16) -> SocketAddr {
        let (listener, address) = listener();
        let timeouts = Timeouts::default();
        let proxy = Arc::clone(&self.proxy);
        let upstream = Upstream::tcp(service, port, address);
        let outbound = Arc::new(TcpOutbound::new(proxy, &timeouts, &upstream));
        let serve = move |tcp, remote| Arc::clone(&outbound).serve(tcp, remote);
        let places = Arc::new(Semaphore::new(1000));
        tokio::spawn(accept(listener, places, self.life.clone(), serve));
        address
    }

    /// Dapr's API for its application.
    pub(super) fn dapr(&self) -> SocketAddr {
        let (listener, address) = listener();
        let server = || {
            let timeouts = Timeouts::default();
            HttpServer::new(&Limits::default(), timeouts, self.life.clone())
        };
        let outbound = Arc::new(Outbound::new(Arc::clone(&self.proxy), server()));
        let readiness = Readiness::new();
        readiness.condition("test").set_ready();
        let dapr = Dapr::new(Arc::clone(&self.proxy), outbound, server(), readiness);
        let dapr = Arc::new(dapr);
        let serve = move |tcp, remote| Arc::clone(&dapr).serve(tcp, remote);
        let places = Arc::new(Semaphore::new(1000));
        tokio::spawn(accept(listener, places, self.life.clone(), serve));
        address
    }

    /// The same sidecar, with a TCP port of these `timeouts` in the place of its inbound one.
    pub(super) fn tcp_port(mut self, timeouts: &Timeouts, app: SocketAddr) -> Self {
        let (listener, address) = listener();
        let port = Port {
            port: 8080,
            protocol: AppProtocol::Tcp,
            listen: address,
            app,
        };
        let inbound = Arc::new(TcpInbound::new(Arc::clone(&self.proxy), timeouts, &port));
        let serve = move |tcp, remote| Arc::clone(&inbound).serve(tcp, remote);
        let places = Arc::new(Semaphore::new(1000));
        tokio::spawn(accept(listener, places, self.life.clone(), serve));
        self.inbound = address;
        self
    }

    /// Puts other documents in force.
    pub(super) fn apply(&self, documents: &str) {
        let files = vec![SourceFile::new("test.yaml", documents)];
        let store = &self.proxy.store;
        assert!(store.apply(Ok(files.into())), "{:?}", store.state());
    }

    /// One HTTP/1.1 exchange over mTLS as `reader`'s identity; `request` closes the connection.
    pub(super) async fn ask(&self, reader: &MaterialReader, request: &str) -> String {
        exchange(self.dial(reader, &[b"http/1.1"]).await.unwrap(), request).await
    }

    /// One HTTP/1.1 exchange with the outbound port.
    pub(super) async fn call(&self, request: &str) -> String {
        exchange(TcpStream::connect(self.outbound).await.unwrap(), request).await
    }
}

pub(super) fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Writes `request`, reads to the end.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut io: S,
    request: &str,
) -> String {
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A peer that resets has answered all the same.
    drop(
        tokio::time::timeout(SOON, io.read_to_end(&mut answer))
            .await
            .expect("an answer in time"),
    );
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has come.
pub(super) async fn until<S: AsyncRead + Unpin>(io: &mut S, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut chunk = [0; 4096];
        let read = tokio::time::timeout(SOON, io.read(&mut chunk))
            .await
            .unwrap()
            .unwrap();
        assert_ne!(read, 0, "ended before `{end}`: {text}");
        text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    text
}

/// A request that closes its connection.
pub(super) fn closing(line: &str, host: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
}

pub(super) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

/// An HTTP/1.1 application that tells what it was asked. `/slow` takes half a second, `/empty` answers 204.
pub(super) async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(tell(request).await)
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

async fn tell(request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (head, body) = request.into_parts();
    let body = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    writeln!(text, "[{}]", String::from_utf8_lossy(&body)).unwrap();
    let mut response = Response::new(Full::new(text.into()));
    if head.uri.path() == "/empty" {
        response = Response::new(Full::default());
        *response.status_mut() = http::StatusCode::NO_CONTENT;
    }
    response
}

/// Where nobody listens.
pub(super) async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A declared service with endpoints (address, service account).
pub(super) fn service(name: &str, protocol: &str, endpoints: &[(SocketAddr, &str)]) -> String {
    let mut text = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: my-app}}\nspec:\n  \
         hosts: [{name}.my-app.svc.cluster.local]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  \
         ports: [{{number: 80, name: port, protocol: {protocol}}}]\n"
    );
    text.push_str(match endpoints {
        [] => "  workloadSelector: {labels: {app: nobody-has-this}}\n",
        _ => "  endpoints:\n",
    });
    for (address, account) in endpoints {
        let (ip, port) = (address.ip(), address.port());
        writeln!(
            text,
            "  - {{address: {ip}, ports: {{port: {port}}}, serviceAccount: {account}}}"
        )
        .unwrap();
    }
    text.push_str("---\n");
    text
}

pub(super) fn mtls(mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: istio-system}}\n\
         spec: {{mtls: {{mode: {mode}}}}}\n---\n"
    )
}

/// Only service account `order` may, and only below `/api/`.
pub(super) const ORDER_ONLY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: order-only, namespace: my-app}
spec:
  selector: {matchLabels: {app: product}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/my-app/sa/order, cluster.local/ns/my-app/sa/gateway]}}]
    to: [{operation: {paths: [/api/*]}}]
---
";
