//! Opens one connection: TCP, TLS with the workload's identity, HTTP preface, all under one deadline.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use identity::dial::{ExpectedServer, client_config, server_name};
use identity::material::MaterialReader;
use policies::cluster::TcpKeepalive;
use rustix::net::sockopt;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Counts, Limits};
use super::connections::Slot;
use super::error::{DialError, UpstreamErrorKind, exchange_kind, one_line};
use super::io::Io;
use super::target::{Target, Transport, UpstreamProtocol};
use crate::body::{RequestBody, Upload};

/// Streams that the peer allows, before it said so.
const UNKNOWN: usize = 0;
/// How often a new HTTP/2 connection is asked whether its peer's SETTINGS have come; nobody tells us.
const SETTINGS_POLL: Duration = Duration::from_millis(1);

/// One HTTP/1.1 connection; dropping it closes the connection.
pub(super) type H1<B> = http1::SendRequest<Upload<B>>;
/// One HTTP/2 connection; dropping the last clone closes it when its streams are done.
pub(super) type H2<B> = http2::SendRequest<Upload<B>>;

/// What the task that drives an HTTP/2 connection tells those who share it.
#[derive(Debug)]
pub(super) struct Driven {
    /// Streams that the peer allows at a time (SETTINGS_MAX_CONCURRENT_STREAMS).
    pub(super) peer_allows: AtomicUsize,
    /// Why the connection ended.
    pub(super) ending: OnceLock<DialError>,
}

/// A new connection, ready for a request.
pub(super) enum Dialled<B> {
    H1(H1<B>),
    H2(H2<B>, Arc<Driven>),
}

/// What a pool needs to open connections.
pub(super) struct Dialer {
    target: Target,
    tls: Tls,
    limits: Limits,
    counts: Arc<Counts>,
}

/// What handshakes of one target are configured with.
enum Tls {
    None,
    /// It reads the material in force at each handshake.
    Mesh(Arc<ClientConfig>),
    /// The transport's files as they are at each handshake.
    Origination,
}

impl Dialer {
    pub(super) fn new(
        target: Target,
        reader: &MaterialReader,
        limits: Limits,
        counts: Arc<Counts>,
    ) -> Self {
        let tls = match &target.transport {
            Transport::Plaintext => Tls::None,
            Transport::Tls(_) => Tls::Origination,
            Transport::Mesh(expected) => {
                let expected = ExpectedServer::AnyOf(Arc::clone(expected.ids()));
                Tls::Mesh(client_config(reader, expected, alpn(target.protocol)))
            }
        };
        Self {
            target,
            tls,
            limits,
            counts,
        }
    }

    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    /// A new connection, which counts as open until it ends.
    pub(super) async fn dial<B: RequestBody>(
        &self,
        slot: Slot,
        limit: Duration,
    ) -> Result<Dialled<B>, DialError> {
        counted(&self.counts, self.target.address, limit, self.open(slot)).await
    }

    async fn open<B: RequestBody>(&self, slot: Slot) -> Result<Dialled<B>, DialError> {
        let (io, h2) = self.connect().await?;
        if h2 {
            self.start_http2(io, slot).await
        } else {
            self.start_http1(io, slot).await
        }
    }

    fn connector(&self) -> Option<TlsConnector> {
        let config = match (&self.tls, &self.target.transport) {
            (Tls::Mesh(config), _) => Arc::clone(config),
            (Tls::Origination, Transport::Tls(origination)) => {
                origination.client_config(alpn(self.target.protocol))
            }
            (Tls::None | Tls::Origination, _) => return None,
        };
        Some(TlsConnector::from(config))
    }

    /// The byte stream, and whether HTTP/2 is to be spoken on it.
    async fn connect(&self) -> Result<(Io, bool), DialError> {
        let io = connect(&self.target, self.connector().as_ref()).await?;
        let Some(session) = io.session() else {
            return Ok((io, self.target.protocol == UpstreamProtocol::Http2));
        };
        let agreed = session.alpn_protocol();
        let h2 = match (self.target.protocol, agreed) {
            (UpstreamProtocol::Auto | UpstreamProtocol::Http2, Some(b"h2")) => true,
            (UpstreamProtocol::Auto | UpstreamProtocol::Http1, Some(b"http/1.1") | None) => false,
            (wanted, _) => {
                return Err(DialError::new(
                    UpstreamErrorKind::Protocol,
                    format_args!("the peer did not agree to {wanted:?} by ALPN"),
                ));
            }
        };
        Ok((io, h2))
    }

    async fn start_http1<B: RequestBody>(
        &self,
        io: Io,
        slot: Slot,
    ) -> Result<Dialled<B>, DialError> {
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(io))
            .await
            .map_err(|e| DialError::new(UpstreamErrorKind::Protocol, one_line(&e)))?;
        let open = self.counts.opened();
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(
                    error = one_line(&error),
                    "upstream HTTP/1.1 connection ended"
                );
            }
            drop((open, slot));
        });
        Ok(Dialled::H1(sender))
    }

    async fn start_http2<B: RequestBody>(
        &self,
        io: Io,
        slot: Slot,
    ) -> Result<Dialled<B>, DialError> {
        let settings = self.target.connections.settings();
        let pings = settings.http2_keep_alive.unwrap_or_default();
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(pings.interval.unwrap_or(self.limits.ping_interval))
            .keep_alive_timeout(pings.timeout.unwrap_or(self.limits.ping_timeout))
            // Asked for by a document, pings are to find dead connections before a request does.
            .keep_alive_while_idle(pings.interval.is_some())
            // No stream before the peer said how many it takes: it would refuse those above its limit.
            .initial_max_send_streams(UNKNOWN)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|e| DialError::new(UpstreamErrorKind::Protocol, one_line(&e)))?;
        let mut connection = Box::pin(connection);
        // The peer's SETTINGS come first of all (RFC 9113 §3.4). Waiting for them also finds out now, with
        // nothing sent, that the peer refuses our certificate (TLS 1.3) or speaks no HTTP/2.
        while connection.current_max_send_streams() == UNKNOWN {
            tokio::select! {
                biased;
                ended = &mut connection => return Err(premature_end(ended)),
                () = tokio::time::sleep(SETTINGS_POLL) => {}
            }
        }
        let open = self.counts.opened();
        let driven = Arc::new(Driven {
            peer_allows: AtomicUsize::new(connection.current_max_send_streams()),
            ending: OnceLock::new(),
        });
        let told = Arc::clone(&driven);
        tokio::spawn(async move {
            let outcome = poll_fn(|cx| {
                let outcome = connection.as_mut().poll(cx);
                // Looked at here because only the connection itself knows; every request polls it.
                told.peer_allows
                    .store(connection.current_max_send_streams(), Ordering::Relaxed);
                outcome
            });
            if let Err(error) = outcome.await {
                let cause = one_line(&error);
                tracing::debug!(error = cause, "upstream HTTP/2 connection ended");
                // Told before the connection is dropped, because the drop fails the queued requests.
                let kind = exchange_kind(&error, false);
                drop(told.ending.set(DialError::new(kind, cause)));
            }
            drop((open, slot));
        });
        Ok(Dialled::H2(sender, driven))
    }
}

/// Counts a dial and bounds it.
pub(super) async fn counted<T>(
    counts: &Counts,
    address: SocketAddr,
    limit: Duration,
    dial: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    counts.dialled();
    let outcome = match tokio::time::timeout(limit, dial).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(DialError::new(
            UpstreamErrorKind::ConnectTimeout,
            format_args!("no connection to {address} within {} ms", limit.as_millis()),
        )),
    };
    if outcome.is_err() {
        counts.dial_failed();
    }
    outcome
}

/// The byte stream to a target: TCP, and TLS on it.
pub(super) async fn connect(target: &Target, tls: Option<&TlsConnector>) -> Result<Io, DialError> {
    let failed = |error| DialError::from_io(&error, UpstreamErrorKind::Connect);
    let tcp = TcpStream::connect(target.address).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    if let Some(keepalive) = target.connections.settings().tcp_keepalive {
        keep_alive(&tcp, keepalive).map_err(|errno| failed(errno.into()))?;
    }
    let Some(tls) = tls else {
        return Ok(Io::Plain(tcp));
    };
    let name = target.server_name.clone().unwrap_or_else(server_name);
    let stream = tls
        .connect(name, tcp)
        .await
        .map_err(|e| DialError::from_io(&e, UpstreamErrorKind::Tls))?;
    Ok(Io::Tls(Box::new(stream)))
}

/// The probes of `tcpKeepalive`; the system's settings where it says nothing.
fn keep_alive(tcp: &TcpStream, keepalive: TcpKeepalive) -> rustix::io::Result<()> {
    let TcpKeepalive {
        probes,
        time,
        interval,
    } = keepalive;
    // The kernel counts in seconds, from 1.
    let seconds = |time: Duration| time.max(Duration::from_secs(1));
    sockopt::set_socket_keepalive(tcp, true)?;
    if let Some(time) = time {
        sockopt::set_tcp_keepidle(tcp, seconds(time))?;
    }
    if let Some(interval) = interval {
        sockopt::set_tcp_keepintvl(tcp, seconds(interval))?;
    }
    if let Some(probes) = probes.filter(|probes| *probes > 0) {
        sockopt::set_tcp_keepcnt(tcp, probes)?;
    }
    Ok(())
}

/// The protocols that are offered in the handshake.
const fn alpn(protocol: UpstreamProtocol) -> &'static [&'static [u8]] {
    match protocol {
        UpstreamProtocol::Auto => &[b"h2", b"http/1.1"],
        UpstreamProtocol::Http1 => &[b"http/1.1"],
        UpstreamProtocol::Http2 => &[b"h2"],
    }
}

fn premature_end(ended: hyper::Result<()>) -> DialError {
    match ended {
        Ok(()) => DialError::new(
            UpstreamErrorKind::Connect,
            "the peer closed the new connection",
        ),
        Err(error) => {
            let kind = match exchange_kind(&error, false) {
                UpstreamErrorKind::Tls => UpstreamErrorKind::Tls,
                _ => UpstreamErrorKind::Protocol,
            };
            DialError::new(kind, one_line(&error))
        }
    }
}
