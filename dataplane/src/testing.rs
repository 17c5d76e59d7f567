//! What the tests of this crate share: a small CA, servers on free ports, bodies.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::bundle::TrustBundle;
use identity::key::PrivateKey;
use identity::material::{MaterialReader, MaterialWriter};
use identity::server::{ClientCertificates, server_config};
use identity::svid::Svid;
use identity::{SpiffeId, TrustDomain};
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::BoxError;
use crate::snapshot::{ProxyContext, Role, Snapshot};
use crate::upstream::{Limits, Upstreams};

/// Any body. A type with a name of its own: boxed errors in type parameters keep futures from being `Send`
/// (rust-lang/rust#64552).
#[derive(Debug)]
pub(crate) struct TestBody(BoxBody<Bytes, BoxError>);

impl TestBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        Self(body.map_err(Into::into).boxed())
    }
}

impl http_body::Body for TestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

pub(crate) type Client = Upstreams<TestBody>;

pub(crate) const SERVER_ID: &str = "spiffe://cluster.local/ns/my-app/sa/server";
pub(crate) const CLIENT_ID: &str = "spiffe://cluster.local/ns/my-app/sa/client";

/// A trust domain with one root.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) bundle: Arc<TrustBundle>,
}

impl Ca {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn svid(&self, id: &str) -> Arc<Svid> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let leaf: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKey::from_pkcs8_der(&key.serialize_der()).unwrap();
        Arc::new(Svid::new(vec![leaf], key).unwrap())
    }

    /// Published material for `id`.
    pub(crate) fn material(&self, id: &str) -> (MaterialWriter, MaterialReader) {
        let (mut writer, reader) = identity::material::channel();
        writer
            .publish(self.svid(id), Arc::clone(&self.bundle))
            .unwrap();
        (writer, reader)
    }

    pub(crate) fn renew(&self, writer: &mut MaterialWriter, id: &str) {
        writer
            .publish(self.svid(id), Arc::clone(&self.bundle))
            .unwrap();
    }
}

/// A client without identity.
pub(crate) fn plain_client<B: crate::RequestBody>(limits: Limits) -> Upstreams<B> {
    Upstreams::new(identity::material::channel().1, limits)
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) fn empty() -> TestBody {
    TestBody::new(Empty::new())
}

pub(crate) fn full(text: impl Into<Bytes>) -> TestBody {
    TestBody::new(Full::new(text.into()))
}

/// A body fed by a channel; dropping the sender ends it.
pub(crate) struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

pub(crate) type Feeder = mpsc::Sender<Result<Frame<Bytes>, BoxError>>;

pub(crate) fn fed() -> (Feeder, TestBody) {
    let (send, receive) = mpsc::channel(1);
    (send, TestBody::new(Fed(receive)))
}

#[expect(clippy::unnecessary_wraps, reason = "what a feeder sends")]
pub(crate) fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

pub(crate) fn get(path: &str) -> Request<TestBody> {
    Request::get(path)
        .header("host", "product-service")
        .body(empty())
        .unwrap()
}

pub(crate) fn post(path: &str, body: TestBody) -> Request<TestBody> {
    Request::post(path)
        .header("host", "product-service")
        .body(body)
        .unwrap()
}

pub(crate) async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

/// What a test server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2 { max_streams: u32 },
}

pub(crate) const H1: Speaks = Speaks::Http1;
pub(crate) const H2: Speaks = Speaks::Http2 { max_streams: 1000 };

/// A server on a free port; it stops with its handle.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    /// Told `true`: finish gracefully, accept no more.
    drain: watch::Sender<bool>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Asks every connection to end gracefully; new ones are still accepted.
    pub(crate) fn drain_connections(&self) {
        self.drain.send_replace(true);
        self.drain.send_replace(false);
    }

    /// Waits until `done` says so.
    pub(crate) async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        eventually(what, || done(self)).await;
    }
}

pub(crate) async fn eventually(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}

/// Serves plaintext, or mTLS with the material of `tls`.
pub(crate) async fn serve<F, R>(speaks: Speaks, tls: Option<MaterialReader>, handler: F) -> Server
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let alpn: &[&[u8]] = match speaks {
        Speaks::Http1 => &[b"http/1.1"],
        Speaks::Http2 { .. } => &[b"h2", b"http/1.1"],
    };
    let tls = tls
        .map(|reader| TlsAcceptor::from(server_config(&reader, ClientCertificates::Require, alpn)));
    let accepted = Arc::new(AtomicUsize::new(0));
    let open = Arc::new(AtomicUsize::new(0));
    let (drain, draining) = watch::channel(false);
    let accepting = tokio::spawn({
        let (accepted, open) = (Arc::clone(&accepted), Arc::clone(&open));
        async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                accepted.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                let (tls, handler, draining) = (tls.clone(), handler.clone(), draining.clone());
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    accept(tcp, tls, speaks, handler, draining).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    });
    Server {
        address,
        accepted,
        open,
        drain,
        accepting,
    }
}

async fn accept<F, R>(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    speaks: Speaks,
    handler: F,
    draining: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    match tls {
        None => drive(tcp, speaks, handler, draining).await,
        Some(tls) => {
            let Ok(io) = tls.accept(tcp).await else {
                return;
            };
            let h2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
            drive(io, if h2 { speaks } else { H1 }, handler, draining).await;
        }
    }
}

async fn drive<I, F, R>(io: I, speaks: Speaks, handler: F, mut draining: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<TestBody>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    draining.mark_unchanged();
    let told = draining.changed();
    match speaks {
        Speaks::Http1 => {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                told = told => if told.is_err() { return },
            }
            connection.as_mut().graceful_shutdown();
            connection.await.ok();
        }
        Speaks::Http2 { max_streams } => {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(max_streams)
                .serve_connection(TokioIo::new(io), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => return,
                told = told => if told.is_err() { return },
            }
            connection.as_mut().graceful_shutdown();
            connection.await.ok();
        }
    }
}

/// For whom the tests build snapshots.
pub(crate) fn context(role: Role) -> ProxyContext {
    ProxyContext {
        mesh: Mesh {
            default_namespace: "my-app".to_owned(),
            ..Mesh::default()
        },
        workload: Workload {
            name: "order-service-v1".to_owned(),
            namespace: "my-app".to_owned(),
            service_account: "order-service".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "order-service".to_owned())]),
        },
        role,
        credentials: None,
        resolver: crate::resolve::Resolver::default(),
    }
}

/// The documents of one service, `product-service` on port 8080.
pub(crate) struct Documents(String);

impl Documents {
    pub(crate) fn new() -> Self {
        Self(
            "apiVersion: networking.istio.io/v1\n\
             kind: ServiceEntry\n\
             metadata: {name: product-service, namespace: my-app}\n\
             spec:\n  \
               hosts: [product-service.my-app.svc.cluster.local]\n  \
               location: MESH_INTERNAL\n  \
               resolution: STATIC\n  \
               ports: [{number: 8080, name: http, protocol: HTTP}]\n  \
               endpoints:\n"
                .to_owned(),
        )
    }

    /// Adds an endpoint; with a service account it is a mesh peer.
    pub(crate) fn endpoint(&mut self, address: SocketAddr, service_account: Option<&str>) {
        let account = service_account
            .map(|a| format!(", serviceAccount: {a}"))
            .unwrap_or_default();
        let (ip, port) = (address.ip(), address.port());
        let line = format!("  - {{address: {ip}, ports: {{http: {port}}}{account}}}\n");
        self.0.push_str(&line);
    }

    pub(crate) fn yaml(&self) -> String {
        self.0.clone()
    }

    pub(crate) fn files(&self) -> Vec<SourceFile> {
        vec![SourceFile::new("mesh.yaml", self.yaml())]
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::build(
            &mut policies::load::Loader::default(),
            &self.files(),
            &context(Role::Sidecar),
            None,
        )
        .unwrap()
    }
}
