//! An authority for tests: in this process or as the real binary, with clients that may misbehave.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ca::config::Config;
use ca::program::{Running, start};
use hyper_util::rt::TokioIo;
use identity::bundle::TrustBundle;
use identity::dial::{ExpectedServer, client_config, server_name};
use identity::enrol::{CaClient, CaTrust};
use identity::join_token::JoinToken;
use identity::key::PrivateKey;
use identity::material::{MaterialReader, MaterialWriter};
use identity::wire::admin_client::AdminClient;
use identity::wire::workload_ca_client::WorkloadCaClient;
use identity::wire::{CreateJoinTokenRequest, EnrolRequest, GetStatusRequest};
use identity::{TrustDomain, enrol};
use runtime::lifecycle::Lifecycle;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint, Uri};

pub const ORDER: &str = "spiffe://cluster.local/ns/my-app/sa/order-service";
pub const GATEWAY: &str = "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway";

/// A directory with a process file and entries.
pub struct Site {
    pub directory: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .ok();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("entries")).unwrap();
        std::fs::write(
            directory.path().join("ca.yaml"),
            format!(
                "apiVersion: portcullis.dev/v1\nkind: CaConfig\ntrustDomain: cluster.local\nlisten: \
                 \"127.0.0.1:0\"\nstateDir: ./state\nadminSocket: ./admin.sock\nprofile: \
                 laptop\nentries: [./entries]\nedge: {{callers: [\"{GATEWAY}\"]}}\ndrain: {{timeout: \
                 2s}}\nlimits: {{perAddress: {{perSecond: 100000, burst: 100000}}, perCaller: \
                 {{perSecond: 100000, burst: 100000}}}}\nlog: {{format: text, level: info}}\n"
            ),
        )
        .unwrap();
        let site = Self { directory };
        site.entry("order", ORDER, "join_token:order");
        site.entry("gateway", GATEWAY, "join_token:gateway");
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn entry(&self, name: &str, id: &str, selector: &str) {
        let text = format!(
            "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {{name: {name}}}\nspec:\n  \
             spiffeID: {id}\n  selectors: [\"{selector}\"]\n"
        );
        std::fs::write(self.path("entries").join(format!("{name}.yaml")), text).unwrap();
    }

    pub async fn start(&self) -> Authority {
        self.start_with(&[]).await
    }

    pub async fn start_with(&self, overrides: &[&str]) -> Authority {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let config = Config::load(&self.path("ca.yaml"), &overrides).unwrap();
        let life = Lifecycle::new(config.drain_timeout);
        let running = start(&config, life.clone(), None).await.unwrap();
        let ca = format!("https://{}", running.grpc);
        let admin = admin(&self.path("admin.sock")).await;
        Authority {
            running,
            life,
            ca,
            admin,
        }
    }
}

/// An authority in this process.
pub struct Authority {
    pub running: Running,
    pub life: Lifecycle,
    pub ca: String,
    pub admin: AdminClient<Channel>,
}

impl Authority {
    pub async fn token(&mut self, name: &str) -> JoinToken {
        token(&mut self.admin, name, 0).await
    }

    pub async fn bundle(&mut self) -> Arc<TrustBundle> {
        bundle(&mut self.admin).await
    }

    pub async fn client(&mut self) -> CaClient {
        let trust = CaTrust::Bundle(self.bundle().await);
        CaClient::connect(&self.ca, trust, None).await.unwrap()
    }

    /// A client that shows the certificate in `material`.
    pub async fn client_as(&mut self, material: &MaterialReader) -> CaClient {
        let trust = CaTrust::Bundle(self.bundle().await);
        CaClient::connect(&self.ca, trust, Some(material))
            .await
            .unwrap()
    }

    /// A stub that sends whatever it is given.
    pub async fn raw(&mut self) -> WorkloadCaClient<Channel> {
        WorkloadCaClient::new(self.channel().await)
    }

    pub async fn channel(&mut self) -> Channel {
        // The server's own material verifies the server; it is shown as client certificate, too.
        channel(self.running.grpc, &self.running.reader).await
    }

    pub async fn enrolled(&mut self, name: &str) -> Workload {
        let key = PrivateKey::generate().unwrap();
        let token = self.token(name).await;
        let mut client = self.client().await;
        let issued = client.enrol(by_token(&key, &token)).await.unwrap();
        Workload::new(key, token, issued)
    }
}

pub fn by_token<'a>(key: &'a PrivateKey, token: &'a JoinToken) -> enrol::Enrolment<'a> {
    enrol::Enrolment {
        enrolment_key: key,
        join_token: Some(token),
        spiffe_id: None,
        ttl: None,
    }
}

pub fn by_key(key: &PrivateKey) -> enrol::Enrolment<'_> {
    enrol::Enrolment {
        enrolment_key: key,
        join_token: None,
        spiffe_id: None,
        ttl: None,
    }
}

/// A workload with its first certificate.
pub struct Workload {
    pub key: PrivateKey,
    pub token: JoinToken,
    pub issued: enrol::Issued,
    pub material: MaterialReader,
    _writer: MaterialWriter,
}

impl Workload {
    pub fn new(key: PrivateKey, token: JoinToken, issued: enrol::Issued) -> Self {
        let (mut writer, material) = identity::material::channel();
        writer
            .publish(Arc::clone(&issued.svid), Arc::clone(&issued.bundle))
            .unwrap();
        Self {
            key,
            token,
            issued,
            material,
            _writer: writer,
        }
    }
}

/// A whole enrolment request for `csr`, rightly proved.
pub fn enrol_request(csr: Vec<u8>, key: &PrivateKey, token: &JoinToken) -> EnrolRequest {
    let token = token.expose().to_string();
    let proof = key
        .sign(&identity::proof::enrol_message(&csr, &token))
        .unwrap();
    EnrolRequest {
        csr,
        join_token: token,
        enrolment_key: key.public_spki().to_vec(),
        proof,
        ..EnrolRequest::default()
    }
}

pub async fn token(admin: &mut AdminClient<Channel>, name: &str, ttl_seconds: u32) -> JoinToken {
    let request = CreateJoinTokenRequest {
        name: name.to_owned(),
        ttl_seconds,
    };
    let made = admin.create_join_token(request).await.unwrap().into_inner();
    JoinToken::parse(&made.token).unwrap()
}

pub async fn bundle(admin: &mut AdminClient<Channel>) -> Arc<TrustBundle> {
    let status = admin
        .get_status(GetStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let bundle = status.bundle.unwrap();
    let roots = bundle.roots.into_iter().map(Into::into).collect();
    let domain = TrustDomain::parse(&bundle.trust_domain).unwrap();
    Arc::new(TrustBundle::new(domain, bundle.sequence, roots).unwrap())
}

pub async fn admin(socket: &Path) -> AdminClient<Channel> {
    let socket = socket.to_owned();
    let connector = Connector(Arc::new(move || {
        let socket = socket.clone();
        Box::pin(async move { Ok(Io::Unix(UnixStream::connect(socket).await?)) })
    }));
    let endpoint = Endpoint::from_static("http://admin");
    AdminClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

pub async fn channel(address: std::net::SocketAddr, reader: &MaterialReader) -> Channel {
    let ca = TrustDomain::parse("cluster.local").unwrap().ca_id();
    let config = client_config(reader, ExpectedServer::AnyOf(Arc::from([ca])), &[b"h2"]);
    let connector = Connector(Arc::new(move || {
        let config = Arc::clone(&config);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let tls = tokio_rustls::TlsConnector::from(config)
                .connect(server_name(), stream)
                .await?;
            Ok(Io::Tls(Box::new(tls)))
        })
    }));
    let endpoint = Endpoint::from_static("http://ca").connect_timeout(Duration::from_secs(5));
    endpoint.connect_with_connector(connector).await.unwrap()
}

type Opening = Pin<Box<dyn Future<Output = std::io::Result<Io>> + Send>>;

#[derive(Clone)]
struct Connector(Arc<dyn Fn() -> Opening + Send + Sync>);

impl tonic::codegen::Service<Uri> for Connector {
    type Response = TokioIo<Io>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<TokioIo<Io>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opening = (self.0)();
        Box::pin(async move { Ok(TokioIo::new(opening.await?)) })
    }
}

/// A connection to either port.
pub enum Io {
    Unix(UnixStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl tokio::io::AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl tokio::io::AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Tls(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
