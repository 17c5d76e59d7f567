//! Connections for bytes that nobody looks into: dialled one by one, never pooled.

mod bounds;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use identity::dial::{ExpectedServer, client_config};
use identity::peer_of::ConnectionPeer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use bounds::Bounds;

use super::client::Upstreams;
use super::connections::Slot;
use super::dial::{connect, counted};
use super::error::{DialError, UpstreamErrorKind};
use super::io::Io;
use super::target::{Target, Transport};
use crate::body::RequestBody;

/// What Istio's proxies offer for TCP inside mutual TLS; by it a PERMISSIVE port tells the mesh from an application's own
/// TLS.
const ALPN: &[u8] = b"istio";

/// A connected stream of bytes to an endpoint.
#[derive(Debug)]
pub struct OpaqueStream {
    io: Io,
    peer: Option<ConnectionPeer>,
    bounds: Bounds,
    _slot: Slot,
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
    /// Opens a connection of its own to `target`, for bytes as they are; its protocol does not matter.
    ///
    /// It is never waited for: with as many connections as `maxConnections` allows it is refused.
    pub async fn connect(&self, target: &Target) -> Result<OpaqueStream, DialError> {
        self.connect_offering(target, &[ALPN]).await
    }

    /// As [`Self::connect`], with what is offered to peers of the mesh as what will be spoken.
    pub(crate) async fn connect_offering(
        &self,
        target: &Target,
        alpn: &[&[u8]],
    ) -> Result<OpaqueStream, DialError> {
        let slot = target.connections.opaque_slot()?;
        // Before the handshake: roots that change meanwhile are noticed by the first question whether the peer is
        // trusted still.
        let reader = self.material();
        let trust_generation = reader.trust_generation();
        let tls = match &target.transport {
            Transport::Plaintext => None,
            Transport::Mesh(_) if reader.generation() == 0 => {
                return Err(DialError::new(
                    UpstreamErrorKind::NoIdentity,
                    "no workload certificate yet",
                ));
            }
            Transport::Mesh(expected) => {
                let expected = ExpectedServer::AnyOf(Arc::clone(expected.ids()));
                let config = client_config(reader, expected, alpn);
                Some(TlsConnector::from(config))
            }
            // What is spoken inside is not known, so nothing is offered.
            Transport::Tls(origination) => Some(TlsConnector::from(origination.client_config(&[]))),
        };
        let dial = connect(target, tls.as_ref());
        let limit = target.connect_timeout;
        let io = counted(self.counters(), target.address, limit, dial).await?;
        let peer = match &target.transport {
            Transport::Mesh(_) => io
                .session()
                .map(|session| ConnectionPeer::server(session, trust_generation))
                .transpose()
                .map_err(|error| DialError::new(UpstreamErrorKind::Identity, error))?,
            Transport::Plaintext | Transport::Tls(_) => None,
        };
        let bounds = Bounds::new(&target.connections.settings());
        Ok(OpaqueStream {
            io,
            peer,
            bounds,
            _slot: slot,
        })
    }
}

impl AsyncRead for OpaqueStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => match self.bounds.poll_end(cx) {
                Poll::Ready(end) => Poll::Ready(Err(end)),
                Poll::Pending => Poll::Pending,
            },
            moved @ Poll::Ready(_) => {
                self.bounds.moved();
                moved
            }
        }
    }
}

impl AsyncWrite for OpaqueStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if written.is_ready() {
            self.bounds.moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
