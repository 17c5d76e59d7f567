//! Accepts connections: bounded in number and in time, each with the identity of its peer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use identity::material::MaterialReader;
use identity::peer_of::ConnectionPeer;
use parking_lot::Mutex;
use runtime::lifecycle::{ConnectionGuard, Lifecycle};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::config::ConnectionLimits;
use crate::limits::network;
use crate::metrics::Metrics;

/// What is known of a connection; part of every request that comes over it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Who it is, if it showed a certificate.
    pub peer: Option<Arc<ConnectionPeer>>,
}

/// Turns TCP connections into identified ones.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    reader: MaterialReader,
    limits: ConnectionLimits,
    life: Lifecycle,
    metrics: Metrics,
    places: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Acceptor {
    /// An acceptor with the TLS configuration `tls`.
    pub fn new(
        tls: Arc<ServerConfig>,
        reader: MaterialReader,
        limits: ConnectionLimits,
        life: Lifecycle,
        metrics: Metrics,
    ) -> Self {
        Self {
            tls: TlsAcceptor::from(tls),
            reader,
            limits,
            life,
            metrics,
            places: Arc::new(Semaphore::new(limits.total)),
            by_address: Arc::default(),
        }
    }

    /// Accepts in the background until the receiver is dropped or the drain begins.
    pub fn listen(self, listener: TcpListener) -> ReceiverStream<io::Result<Accepted>> {
        let (ready, incoming) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = ready.closed() => return,
                    () = self.life.drain_begun() => return,
                };
                match accepted {
                    Ok((stream, address)) => self.start(stream, address, &ready),
                    Err(error) => {
                        // Out of descriptors, most likely; without a pause this would spin.
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        });
        ReceiverStream::new(incoming)
    }

    fn start(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        ready: &mpsc::Sender<io::Result<Accepted>>,
    ) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.lost("too_many");
            return;
        };
        let Some(counted) =
            CountedAddress::enter(&self.by_address, network(address.ip()), self.limits)
        else {
            self.lost("too_many_of_address");
            return;
        };
        let this = self.clone();
        let ready = ready.clone();
        tokio::spawn(async move {
            let shaken = timeout(this.limits.handshake, this.shake(stream, address)).await;
            match shaken {
                Ok(Ok((tls, connection))) => {
                    this.metrics.connections.inc();
                    let accepted = Accepted {
                        tls,
                        connection,
                        first_bytes: Some(Box::pin(sleep(this.limits.handshake))),
                        open: Open {
                            metrics: this.metrics.clone(),
                            _place: place,
                            _address: counted,
                            _guard: this.life.enter(),
                        },
                    };
                    // The server is gone; so is the connection.
                    drop(ready.send(Ok(accepted)).await);
                }
                Ok(Err(error)) => {
                    this.lost("handshake");
                    tracing::debug!(%address, %error, "TLS handshake failed");
                }
                Err(_) => this.lost("timeout"),
            }
        });
    }

    async fn shake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> io::Result<(TlsStream<TcpStream>, Connection)> {
        stream.set_nodelay(true)?;
        // Read before the handshake: a bundle that changes during it is noticed at the first call.
        let generation = self.reader.trust_generation();
        let tls = self.tls.accept(stream).await?;
        let session = tls.get_ref().1;
        let peer = if session.peer_certificates().is_some() {
            let peer = ConnectionPeer::new(session, generation)
                .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
            Some(Arc::new(peer))
        } else {
            None
        };
        Ok((tls, Connection { address, peer }))
    }

    fn lost(&self, reason: &str) {
        self.metrics.handshakes.with_label_values(&[reason]).inc();
    }
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    tls: TlsStream<TcpStream>,
    connection: Connection,
    /// Runs until the first bytes come; a client that connects and says nothing does not keep its place.
    first_bytes: Option<Pin<Box<Sleep>>>,
    #[expect(
        dead_code,
        reason = "gives the connection's places back when it is dropped"
    )]
    open: Open,
}

#[derive(Debug)]
struct Open {
    metrics: Metrics,
    _place: OwnedSemaphorePermit,
    _address: CountedAddress,
    _guard: ConnectionGuard,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

#[derive(Debug)]
struct CountedAddress {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl CountedAddress {
    fn enter(
        counts: &Arc<Mutex<HashMap<IpAddr, usize>>>,
        address: IpAddr,
        limits: ConnectionLimits,
    ) -> Option<Self> {
        let mut map = counts.lock();
        let count = map.entry(address).or_insert(0);
        if *count >= limits.per_address {
            return None;
        }
        *count += 1;
        Some(Self {
            counts: Arc::clone(counts),
            address,
        })
    }
}

impl Drop for CountedAddress {
    fn drop(&mut self) {
        let mut map = self.counts.lock();
        if let Some(count) = map.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.address);
            }
        }
    }
}

impl Connected for Accepted {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.tls).poll_read(cx, buffer);
        if let Some(deadline) = &mut self.first_bytes {
            if read.is_ready() {
                self.first_bytes = None;
            } else if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
