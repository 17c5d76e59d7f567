//! Accepts connections: bounded in number and in time, each with the identity of its peer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use identity::peer_of::ConnectionPeer;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::Shared;

const HANDSHAKE: Duration = Duration::from_secs(5);

/// An accepted connection, with its place among all.
#[derive(Debug)]
pub(crate) struct Accepted {
    tls: TlsStream<TcpStream>,
    peer: Arc<ConnectionPeer>,
    _place: OwnedSemaphorePermit,
}

/// Accepts in the background until the receiver is dropped or the drain begins.
pub(crate) fn listen(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shared: Arc<Shared>,
    connections: usize,
) -> ReceiverStream<io::Result<Accepted>> {
    let (ready, incoming) = mpsc::channel(64);
    let places = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let tls = TlsAcceptor::from(tls);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
                () = shared.lifecycle.drain_begun() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely; without a pause this would spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%address, "too many connections");
                continue;
            };
            let (tls, shared, ready) = (tls.clone(), Arc::clone(&shared), ready.clone());
            tokio::spawn(async move {
                match timeout(HANDSHAKE, shake(&tls, &shared, stream, place)).await {
                    // The server is gone; so is the connection.
                    Ok(Ok(accepted)) => drop(ready.send(Ok(accepted)).await),
                    Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
                    Err(_elapsed) => tracing::debug!(%address, "TLS handshake takes too long"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}

async fn shake(
    tls: &TlsAcceptor,
    shared: &Shared,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    // Read before the handshake: roots that change during it are noticed at the first call.
    let generation = shared.material.trust_generation();
    let tls = tls.accept(stream).await?;
    let peer = ConnectionPeer::new(tls.get_ref().1, generation)
        .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
    Ok(Accepted {
        tls,
        peer: Arc::new(peer),
        _place: place,
    })
}

impl Connected for Accepted {
    type ConnectInfo = Arc<ConnectionPeer>;

    fn connect_info(&self) -> Arc<ConnectionPeer> {
        Arc::clone(&self.peer)
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buffer)
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
