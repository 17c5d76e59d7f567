//! Requests from the mesh to the application: who is it, may they, then the application.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use authz::MtlsMode;
use dataplane::config::ForwardedPath;
use dataplane::forward::deadline;
use dataplane::headers::{
    RequestIdSource, TraceRole, Upgrades, XFCC, XfccMode, apply_xfcc, ensure_request_id,
    ensure_trace, strip_edge, strip_hop_by_hop, strip_lookalikes, websocket_upgrade,
};
use dataplane::sizes::SizeLimits;
use dataplane::telemetry::{Party, PartyId, Reporter, ResponseFlags, Security};
use dataplane::{LocalReply, Snapshot, Target, UpstreamProtocol};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use identity::peer_of::ConnectionPeer;
use identity::server::{ClientCertificates, server_config};
use policies::resilience::{DeadlineScope, RetryPolicy};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use crate::activity::InFlight;
use crate::answer::{self, AnswerBody};
use crate::config::{AppProtocol, Inbound as Port};
use crate::exchange::Exchange;
use crate::http::{HttpServer, Speaks};
use crate::proxy::{APP_CONNECT, Peer, Proxy, RequestBody};
use crate::tidy::{self, SentPath};
use crate::{admission, chaos, limits, tunnel};

/// The first byte of every TLS record that begins a handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// 403: mTLS became STRICT since the connection began.
const MTLS_REQUIRED: LocalReply = LocalReply::new(
    StatusCode::FORBIDDEN,
    "mTLS is required",
    ResponseFlags::POLICY_DENIED,
    "plaintext_where_mtls_is_strict",
);

/// One port of the workload.
pub(crate) struct Inbound {
    proxy: Arc<Proxy>,
    http: HttpServer,
    tls: TlsAcceptor,
    handshake_timeout: Duration,
    port: u16,
    app: Target,
    /// When a request is sent to the application again.
    retry: RetryPolicy,
}

impl Inbound {
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        http: HttpServer,
        handshake_timeout: Duration,
        port: &Port,
    ) -> Self {
        let alpn: &[&[u8]] = &[b"h2", b"http/1.1"];
        let tls = server_config(&proxy.material, ClientCertificates::Require, alpn);
        let protocol = match port.protocol {
            // A TCP port never comes here.
            AppProtocol::Http | AppProtocol::Tcp => UpstreamProtocol::Http1,
            AppProtocol::Http2 | AppProtocol::Grpc => UpstreamProtocol::Http2,
        };
        Self {
            proxy,
            http,
            tls: TlsAcceptor::from(tls),
            handshake_timeout,
            port: port.port,
            app: Target::plaintext(port.app, protocol, APP_CONNECT),
            // As in Istio, not for gRPC.
            retry: match port.protocol {
                AppProtocol::Grpc => RetryPolicy::off(),
                AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Tcp => RetryPolicy::inbound(),
            },
        }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, tcp: TcpStream, remote: SocketAddr) {
        if let Err(error) = self.admit(tcp, remote).await {
            tracing::debug!(%remote, port = self.port, %error, "connection refused");
        }
    }

    /// Ends mTLS as PeerAuthentication wants it for this port now; what does not fit is closed without a word.
    async fn admit(self: &Arc<Self>, tcp: TcpStream, remote: SocketAddr) -> io::Result<()> {
        let Some(snapshot) = self.proxy.store.snapshot() else {
            return Err(io::Error::other("no policy generation in force yet"));
        };
        let mode = snapshot.mtls.for_port(self.port);
        drop(snapshot);
        let local = tcp.local_addr()?;
        let mtls = match mode {
            MtlsMode::Disable => false,
            MtlsMode::Strict | MtlsMode::Permissive => {
                let first = timeout(self.handshake_timeout, first_byte(&tcp)).await??;
                match (first, mode) {
                    (HANDSHAKE_RECORD, _) => true,
                    (_, MtlsMode::Permissive) => false,
                    _ => return Err(io::Error::other("plaintext where mTLS is STRICT")),
                }
            }
        };
        if mtls {
            self.serve_mtls(tcp, remote, local).await
        } else {
            let peer = Arc::new(Peer {
                remote,
                local,
                proved: None,
                sni: None,
                party: PartyId::default(),
                is_gateway: false,
            });
            self.drive(tcp, Speaks::Either, peer).await;
            Ok(())
        }
    }

    async fn serve_mtls(
        self: &Arc<Self>,
        tcp: TcpStream,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> io::Result<()> {
        // Before the handshake: roots that change meanwhile make the first request check again.
        let trust_generation = self.proxy.material.trust_generation();
        let tls = timeout(self.handshake_timeout, self.tls.accept(tcp)).await??;
        let (_, session) = tls.get_ref();
        let proved = ConnectionPeer::new(session, trust_generation).map_err(io::Error::other)?;
        let speaks = match session.alpn_protocol() {
            Some(b"h2") => Speaks::Two,
            _ => Speaks::One,
        };
        let id = &proved.identity().id;
        let peer = Arc::new(Peer {
            remote,
            local,
            sni: session
                .server_name()
                .map(|name| name.to_ascii_lowercase().into()),
            party: self.proxy.metrics.party(&Party::peer(id)),
            is_gateway: self.proxy.gateways.contains(id),
            proved: Some(proved),
        });
        self.drive(tls, speaks, peer).await;
        Ok(())
    }

    async fn drive<S>(self: &Arc<Self>, io: S, speaks: Speaks, peer: Arc<Peer>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let door = Arc::clone(self);
        let answer = move |request, in_flight| {
            Arc::clone(&door).answer(Arc::clone(&peer), request, in_flight)
        };
        self.http.serve(io, speaks, answer).await;
    }

    /// One request: one snapshot, one form, one decision, then the application.
    async fn answer(
        self: Arc<Self>,
        peer: Arc<Peer>,
        mut request: Request<RequestBody>,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        let proxy = &self.proxy;
        let account = Exchange::begin(proxy, Reporter::Destination, &peer, &request, in_flight);
        let mut exchange = Box::new(account);
        let Some(snapshot) = proxy.store.snapshot() else {
            return answer::local(exchange, &LocalReply::not_ready());
        };
        exchange.seen.destination = proxy.party;
        exchange.seen.service = proxy.own_service(&snapshot);
        if peer.proved.is_some() {
            exchange.seen.security = Security::MutualTls;
        }
        // A connection that came in plaintext while that was allowed must not outlive the allowance.
        if peer.proved.is_none() && snapshot.mtls.for_port(self.port) == MtlsMode::Strict {
            let over_http1 = request.version() < Version::HTTP_2;
            let response = answer::local(exchange, &MTLS_REQUIRED);
            if over_http1 {
                let close = HeaderValue::from_static("close");
                return answer::with_header(response, &header::CONNECTION, close);
            }
            return response;
        }
        let sent_path = match self.check(&peer, &snapshot, &mut request) {
            Ok(sent_path) => sent_path,
            Err(reply) => return answer::local(exchange, &reply),
        };
        exchange.tidied(&request, snapshot.generation);
        let admitted = admission::admit(
            proxy,
            &snapshot,
            &peer,
            self.port,
            &mut request,
            &mut exchange,
        );
        let token = match admitted.await {
            Ok(token) => token,
            Err(refusal) => return answer::refused(exchange, *refusal),
        };
        let counted = limits::check(
            proxy,
            &snapshot,
            (&peer, self.port),
            &request,
            token.as_deref(),
            &mut exchange,
        );
        if let Err(reply) = counted.await {
            return answer::local(exchange, &reply);
        }
        if let Err(reply) = proxy.sizes.check_request(request.headers()) {
            return answer::local(exchange, &reply);
        }
        match proxy.shedder.enter().await {
            Ok(place) => exchange.place = place,
            Err(reply) => return answer::local(exchange, &reply),
        }
        drop(snapshot);
        let trace = ensure_trace(request.headers_mut(), TraceRole::Forward);
        ensure_request_id(request.headers_mut(), RequestIdSource::Caller);
        exchange.known_as(&request, trace);
        if let (ForwardedPath::Original, Some(sent)) = (proxy.path, sent_path)
            && let Err(reply) = sent.restore(&mut request)
        {
            return answer::local(exchange, &reply);
        }
        match chaos::strike(proxy, exchange).await {
            Ok(exchange) => self.forward(request, exchange).await,
            Err(struck) => struck,
        }
    }

    /// Today's roots, one form, and no word of the client about who it is. Gives back the path as it was sent, where
    /// that is not the canonical one.
    fn check(
        &self,
        peer: &Peer,
        snapshot: &Snapshot,
        request: &mut Request<RequestBody>,
    ) -> Result<Option<SentPath>, Box<LocalReply>> {
        let proxy = &self.proxy;
        if let Some(proved) = &peer.proved
            && !proved.still_trusted(&proxy.material, SystemTime::now())
        {
            return Err(Box::new(LocalReply {
                body: "the client certificate is no longer trusted".into(),
                ..LocalReply::denied("peer_no_longer_trusted")
            }));
        }
        let sent_path = tidy::tidy(request, snapshot.mesh.path_normalization)?;
        let headers = request.headers_mut();
        // Before the judgement: what `Connection` takes away must not be seen by a rule and missed by the application.
        let upgrades = if websocket_upgrade(headers) {
            Upgrades::Keep
        } else {
            Upgrades::Strip
        };
        strip_hop_by_hop(headers, upgrades);
        strip_lookalikes(headers);
        if peer.proved.is_none() {
            strip_edge(headers);
        }
        // A gateway tells who its own client was; what anybody else says about that is dropped.
        if !peer.is_gateway {
            headers.remove(&XFCC);
        }
        apply_xfcc(
            headers,
            XfccMode::AppendForward,
            Some(&proxy.id),
            peer.identity(),
        );
        Ok(sent_path)
    }

    async fn forward(
        self: Arc<Self>,
        mut request: Request<RequestBody>,
        mut exchange: Box<Exchange>,
    ) -> Response<AnswerBody> {
        let upgrade = tunnel::wish(&mut request, self.app.protocol);
        let upgrades = if upgrade.is_some() {
            Upgrades::Keep
        } else {
            Upgrades::Strip
        };
        strip_hop_by_hop(request.headers_mut(), upgrades);
        // Reading the body sends the client its `100 Continue`; the application need not know.
        request.headers_mut().remove(header::EXPECT);
        // What the caller says is left of its time holds here too.
        let deadline = deadline(
            None,
            DeadlineScope::Shared,
            request.headers(),
            Instant::now(),
        );
        let sizes = self.proxy.sizes;
        let too_large = request.body_mut().cap(sizes.request_bytes);
        let sent = self
            .proxy
            .forwarder
            .to_target(&self.app, &self.retry, request, deadline)
            .await;
        exchange.outcome(sent.outcome);
        let response = match sent.result {
            Err(_) if too_large.is_so() => Err(SizeLimits::request_too_large()),
            Ok(response) => sizes.check_response(&response).map(|()| response),
            refused => refused,
        };
        match response {
            Ok(response) => {
                exchange.longest_response = sizes.response_bytes;
                tunnel::or_body(response, upgrade, exchange, &self.proxy.life)
            }
            Err(reply) => answer::local(exchange, &reply),
        }
    }
}

/// Looks at the first byte without taking it.
async fn first_byte(tcp: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match tcp.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}
