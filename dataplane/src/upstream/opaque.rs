//! Connections for bytes that nobody looks into: dialled one by one, never pooled.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use identity::dial::{ExpectedServer, client_config};
use identity::peer_of::ConnectionPeer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::client::Upstreams;
use super::dial::{connect, counted};
use super::error::{DialError, UpstreamErrorKind};
use super::io::Io;
use super::target::Transport;
use crate::body::RequestBody;

/// What Istio's proxies offer for TCP inside mutual TLS; by it a PERMISSIVE port tells the mesh from an application's own
/// TLS.
const ALPN: &[u8] = b"istio";

/// A connected stream of bytes to an endpoint.
#[derive(Debug)]
pub struct OpaqueStream {
    io: Io,
    peer: Option<ConnectionPeer>,
}

impl OpaqueStream {
    /// The endpoint, proved by mutual TLS; given once, to be asked beside the stream whether it is trusted still.
    pub const fn take_peer(&mut self) -> Option<ConnectionPeer> {
        self.peer.take()
    }

    /// Makes the end of this connection a reset, so that the endpoint cannot take it for the end of the data.
    pub fn abort(&self) {
        // Fails only on a socket that is gone already.
        self.io.tcp().set_zero_linger().ok();
    }
}

impl<B: RequestBody> Upstreams<B> {
    /// Opens a connection of its own to `address`, for bytes as they are.
    pub async fn connect(
        &self,
        address: SocketAddr,
        transport: &Transport,
        limit: Duration,
    ) -> Result<OpaqueStream, DialError> {
        // Before the handshake: roots that change meanwhile are noticed by the first question whether the peer is
        // trusted still.
        let reader = self.material();
        let trust_generation = reader.trust_generation();
        let tls = match transport {
            Transport::Plaintext => None,
            Transport::Mesh(_) if reader.generation() == 0 => {
                return Err(DialError::new(
                    UpstreamErrorKind::NoIdentity,
                    "no workload certificate yet",
                ));
            }
            Transport::Mesh(expected) => {
                let expected = ExpectedServer::AnyOf(Arc::clone(expected.ids()));
                let config = client_config(reader, expected, &[ALPN]);
                Some(TlsConnector::from(config))
            }
        };
        let dial = connect(address, tls.as_ref());
        let io = counted(self.counters(), address, limit, dial).await?;
        let peer = io
            .session()
            .map(|session| ConnectionPeer::server(session, trust_generation))
            .transpose()
            .map_err(|error| DialError::new(UpstreamErrorKind::Identity, error))?;
        Ok(OpaqueStream { io, peer })
    }
}

impl AsyncRead for OpaqueStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for OpaqueStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
