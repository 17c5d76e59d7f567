//! A CA for tests: the agreed wire over TLS, one identity, and faults on demand.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{ReceiverStream, WatchStream},
};
use tonic::{
    Request, Response, Status,
    transport::server::{Connected, Server},
};
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use crate::{
    bundle::TrustBundle,
    id::SpiffeId,
    key::{PrivateKey, verify_p256},
    material::{self, MaterialReader, MaterialWriter},
    peer_of::peer_of,
    proof::enrol_message,
    server::{ClientCertificates, server_config},
    svid::Svid,
    test_pki::{ORDER, Pki, TD, leaf_params, p256, trust_domain},
    wire::{
        Bundle, EnrolRequest, IssueEdgeRequest, IssueEdgeResponse, IssueResponse, RenewRequest,
        WatchBundleRequest,
        workload_ca_server::{WorkloadCa, WorkloadCaServer},
    },
};

pub(super) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

pub(super) struct FakeCa {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

struct State {
    ttl: Duration,
    material: Mutex<MaterialWriter>,
    reader: MaterialReader,
    bundles: watch::Sender<Bundle>,
    // The PKI that signs now, and one that is to follow.
    signing: Mutex<(Pki, Option<Pki>)>,
    bound: Mutex<HashMap<String, Vec<u8>>>,
    counts: Mutex<(usize, usize, usize)>,
    replies_to_lose: AtomicU32,
    refuse_renewals: Mutex<bool>,
}

impl FakeCa {
    pub(super) async fn start(ttl: Duration) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Pki::new(), ttl).await
    }

    pub(super) async fn start_at(address: SocketAddr, pki: Pki, ttl: Duration) -> Self {
        let (writer, reader) = material::channel();
        let bundle = pki.bundle(1);
        let (bundles, _) = watch::channel(on_the_wire(&bundle));
        let state = Arc::new(State {
            ttl,
            material: Mutex::new(writer),
            reader,
            bundles,
            signing: Mutex::new((pki, None)),
            bound: Mutex::default(),
            counts: Mutex::default(),
            replies_to_lose: AtomicU32::new(0),
            refuse_renewals: Mutex::new(false),
        });
        state.show_certificate(bundle);
        let mut ca = Self {
            address,
            state,
            server: None,
        };
        ca.restart().await;
        ca
    }

    pub(super) async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.server = Some(tokio::spawn(serve(listener, Arc::clone(&self.state))));
    }

    pub(super) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            assert!(server.await.unwrap_err().is_cancelled());
        }
    }

    pub(super) fn bundle(&self) -> TrustBundle {
        let wire = self.state.bundles.borrow().clone();
        let roots = wire.roots.into_iter().map(Into::into).collect();
        TrustBundle::new(trust_domain(), wire.sequence, roots).unwrap()
    }

    /// Enrolments and renewals that were answered, or lost on the way back.
    pub(super) fn counts(&self) -> (usize, usize) {
        let (enrolled, renewed, _) = *self.state.counts.lock().unwrap();
        (enrolled, renewed)
    }

    pub(super) fn enrolled_by_key(&self) -> usize {
        self.state.counts.lock().unwrap().2
    }

    pub(super) fn lose_replies(&self, count: u32) {
        self.state.replies_to_lose.store(count, Ordering::SeqCst);
    }

    pub(super) fn forget(&self) {
        self.state.bound.lock().unwrap().clear();
    }

    pub(super) fn refuse_renewals(&self) {
        *self.state.refuse_renewals.lock().unwrap() = true;
    }

    pub(super) fn add_root(&self) {
        let next = Pki::new();
        let mut bundle = self.bundle();
        bundle.sequence += 1;
        bundle.roots.push(next.root.der().clone());
        self.state.signing.lock().unwrap().1 = Some(next);
        self.state.show_certificate(bundle.clone());
        self.state.bundles.send_replace(on_the_wire(&bundle));
    }

    /// Returns the PKI that is retired.
    pub(super) fn switch_to_added_root(&self) -> Pki {
        let sequence = self.bundle().sequence + 1;
        let (bundle, retired) = {
            let mut signing = self.state.signing.lock().unwrap();
            let next = signing.1.take().unwrap();
            let retired = std::mem::replace(&mut signing.0, next);
            (signing.0.bundle(sequence), retired)
        };
        self.state.show_certificate(bundle.clone());
        self.state.bundles.send_replace(on_the_wire(&bundle));
        retired
    }
}

impl Drop for FakeCa {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

fn on_the_wire(bundle: &TrustBundle) -> Bundle {
    Bundle {
        trust_domain: TD.to_owned(),
        sequence: bundle.sequence,
        roots: bundle.roots.iter().map(|root| root.to_vec()).collect(),
        refresh_hint_seconds: 0,
    }
}

impl State {
    /// The CA's own SVID: leaf, intermediate and all roots.
    fn show_certificate(&self, bundle: TrustBundle) {
        let key = PrivateKey::generate().unwrap();
        let mut chain = {
            let signing = self.signing.lock().unwrap();
            let params = leaf_params(trust_domain().ca_id().as_str(), SystemTime::now());
            signing.0.chain_for(&params, &p256(key.public_spki()))
        };
        chain.extend(bundle.roots.iter().cloned());
        let svid = Arc::new(Svid::new(chain, key).unwrap());
        let mut material = self.material.lock().unwrap();
        material.publish(svid, Arc::new(bundle)).unwrap();
    }

    fn issue(&self, csr: &[u8]) -> IssueResponse {
        let (_, request) = X509CertificationRequest::from_der(csr).unwrap();
        request.verify_signature().unwrap();
        let mut params = leaf_params(ORDER, SystemTime::now());
        params.not_after = (SystemTime::now() + self.ttl).into();
        let key = p256(request.certification_request_info.subject_pki.raw);
        let chain = self.signing.lock().unwrap().0.chain_for(&params, &key);
        IssueResponse {
            chain: chain.iter().map(|der| der.to_vec()).collect(),
            bundle: Some(self.bundles.borrow().clone()),
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let config = server_config(&state.reader, ClientCertificates::Request, &[b"h2"]);
    let acceptor = TlsAcceptor::from(config);
    let (sender, connections) = mpsc::channel(4);
    let service = WorkloadCaServer::new(Service(Arc::clone(&state)));
    // Dropped with this task, and all its connections with it.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let served = Server::builder()
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(connections))
            .await;
        served.unwrap();
    });
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            let connection = Connection {
                stream,
                doomed: Arc::default(),
            };
            if sender.send(Ok::<_, io::Error>(connection)).await.is_err() {
                return;
            }
        }
    }
}

struct Service(Arc<State>);

#[tonic::async_trait]
impl WorkloadCa for Service {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<IssueResponse>, Status> {
        let client = request.extensions().get::<Client>().cloned().unwrap();
        let request = request.into_inner();
        let message = enrol_message(&request.csr, &request.join_token);
        verify_p256(&request.enrolment_key, &message, &request.proof)
            .map_err(|_| Status::unauthenticated("bad proof"))?;
        {
            let mut bound = self.0.bound.lock().unwrap();
            let mut counts = self.0.counts.lock().unwrap();
            if request.join_token.is_empty() {
                if !bound.values().any(|key| *key == request.enrolment_key) {
                    return Err(Status::permission_denied("unknown enrolment key"));
                }
                counts.2 += 1;
            } else {
                let key = bound
                    .entry(request.join_token.clone())
                    .or_insert_with(|| request.enrolment_key.clone());
                if *key != request.enrolment_key {
                    return Err(Status::permission_denied("the token is spent"));
                }
                counts.0 += 1;
            }
        }
        let lost = self
            .0
            .replies_to_lose
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lost.is_ok() {
            client.doomed.store(1, Ordering::SeqCst);
        }
        Ok(Response::new(self.0.issue(&request.csr)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<IssueResponse>, Status> {
        let client = request.extensions().get::<Client>().cloned().unwrap();
        if *self.0.refuse_renewals.lock().unwrap() {
            return Err(Status::permission_denied("banned"));
        }
        match client.id {
            Some(id) if id.as_str() == ORDER => {
                self.0.counts.lock().unwrap().1 += 1;
                Ok(Response::new(self.0.issue(&request.into_inner().csr)))
            }
            Some(_) | None => Err(Status::unauthenticated("no SVID")),
        }
    }

    type WatchBundleStream = Pin<Box<dyn Stream<Item = Result<Bundle, Status>> + Send>>;

    async fn watch_bundle(
        &self,
        _request: Request<WatchBundleRequest>,
    ) -> Result<Response<Self::WatchBundleStream>, Status> {
        let changes = WatchStream::new(self.0.bundles.subscribe());
        Ok(Response::new(Box::pin(changes.map(Ok))))
    }

    async fn issue_edge(
        &self,
        request: Request<IssueEdgeRequest>,
    ) -> Result<Response<IssueEdgeResponse>, Status> {
        let request = request.into_inner();
        assert_eq!(request.ip_addresses, ["127.0.0.1"]);
        let issued = self.0.issue(&request.csr);
        let root = self.0.bundles.borrow().roots[0].clone();
        Ok(Response::new(IssueEdgeResponse {
            chain: issued.chain,
            root,
        }))
    }
}

/// What a handler knows of its connection.
#[derive(Clone)]
struct Client {
    id: Option<SpiffeId>,
    doomed: Arc<AtomicU32>,
}

/// A TLS connection that a handler can cut before its reply is written.
struct Connection {
    stream: TlsStream<TcpStream>,
    doomed: Arc<AtomicU32>,
}

impl Connected for Connection {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        Client {
            id: peer_of(self.stream.get_ref().1).ok().map(|peer| peer.id),
            doomed: Arc::clone(&self.doomed),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.doomed.load(Ordering::SeqCst) > 0 {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
