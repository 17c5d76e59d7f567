//! Takes connections from one listener and brings each to the driver of its HTTP version.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataplane::tcp::{Abort, Opening};
use pingora::apps::HttpServerApp;
use pingora::server::ShutdownWatch;
use runtime::lifecycle::ConnectionCount;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use crate::connection::{Connection, HttpVersion, TlsFacts};
use crate::detect::detect;
use crate::pace::{Pace, Timeouts};
use crate::stream::{ClientStream, Transport};
use crate::tcp::{Arrival, TcpDoor};
use crate::tls::{Beginning, TlsTerminator};
use crate::{drain, h1, h2};

/// How long to wait when the process has no descriptor left for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// One listener's work: everything a new connection needs.
#[derive(Debug)]
pub(crate) struct Door<A> {
    /// Serves the requests.
    pub(crate) app: Arc<A>,
    /// The port that `Gateway` documents name.
    pub(crate) port: u16,
    /// Where connections go that are not looked into; none resets them.
    pub(crate) opaque: Option<TcpDoor>,
    /// Ends TLS, on a port whose servers ask for it.
    pub(crate) tls: Arc<TlsTerminator>,
    /// What a client may take its time over.
    pub(crate) timeouts: Timeouts,
    /// Bounds the connections; shared by all listeners.
    pub(crate) places: Arc<Semaphore>,
    /// Counts the connections, for the drain to wait for.
    pub(crate) connections: ConnectionCount,
    /// Becomes true when the process begins to drain.
    pub(crate) draining: ShutdownWatch,
}

/// What has become of the beginning of a connection to a TLS port.
enum Ended {
    /// TLS has ended here, with HTTP behind it.
    Http(Box<(TlsStream<TcpStream>, TlsFacts, HttpVersion)>),
    /// TLS has ended here, with anything behind it.
    Opaque(Box<TlsStream<TcpStream>>, Arrival),
    /// TLS goes on to an endpoint.
    Not(TcpStream, Arrival),
}

impl<A> Door<A>
where
    A: HttpServerApp + Send + Sync + 'static,
{
    /// Accepts until the process drains; closing the listener is dropping it. At the bound, new connections wait in
    /// the kernel's queue.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let next = async {
                // The semaphore is never closed.
                let place = Arc::clone(&self.places).acquire_owned().await.ok();
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = drain::begins(&self.draining) => return,
                next = next => next,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    let door = Arc::clone(&self);
                    let guard = self.connections.enter();
                    tokio::spawn(async move {
                        if let Err(error) = door.serve(tcp, peer).await {
                            debug!(%peer, port = door.port, %error, "connection closed");
                        }
                        drop((guard, place));
                    });
                }
                Err(error) => {
                    // A connection that died in the queue costs nothing; a full descriptor table
                    // would otherwise spin.
                    warn!(port = self.port, %error, "connection not accepted");
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    /// Reads a ClientHello, and ends TLS unless the server that it names passes TLS on.
    async fn handshake(
        &self,
        mut tcp: TcpStream,
        remote: SocketAddr,
        local: SocketAddr,
    ) -> io::Result<Ended> {
        let opening = Opening::read(&mut tcp).await?;
        let sni = opening.sni();
        let arrival = |first| Arrival {
            remote,
            local,
            sni: sni.clone(),
            first,
        };
        let passed = self.tls.passes(self.port, sni.as_deref());
        if passed && opening.hello.is_some() {
            return Ok(Ended::Not(tcp, arrival(opening.read)));
        }
        let handshake = self.tls.accept(self.port, tcp, opening).await?;
        if self.tls.is_opaque(self.port, sni.as_deref()) {
            return Ok(Ended::Opaque(Box::new(handshake.0), arrival(Vec::new())));
        }
        Ok(Ended::Http(Box::new(handshake)))
    }

    async fn opaque<S>(&self, client: S, arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Abort + Unpin,
    {
        if let Some(door) = &self.opaque {
            door.serve(client, arrival).await;
        } else {
            client.abort();
        }
    }

    /// Serves one connection to its end.
    async fn serve(&self, mut tcp: TcpStream, peer: SocketAddr) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let descriptor = tcp.as_raw_fd();
        let (transport, replay, version, tls) = match self.tls.begins(self.port) {
            Beginning::Tls => {
                let handshake = self.handshake(tcp, peer, local);
                let handshake = timeout(self.timeouts.handshake, handshake)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                let (tls, facts, version) = match handshake {
                    Ended::Http(handshake) => *handshake,
                    Ended::Opaque(tls, arrival) => {
                        self.opaque(*tls, arrival).await;
                        return Ok(());
                    }
                    Ended::Not(tcp, arrival) => {
                        self.opaque(tcp, arrival).await;
                        return Ok(());
                    }
                };
                (Transport::tls(tls), Bytes::new(), version, Some(facts))
            }
            Beginning::Opaque => {
                let arrival = Arrival {
                    remote: peer,
                    local,
                    sni: None,
                    first: Vec::new(),
                };
                self.opaque(tcp, arrival).await;
                return Ok(());
            }
            Beginning::Http => {
                let Some((version, replay)) = detect(&mut tcp, &self.timeouts).await? else {
                    return Ok(());
                };
                (Transport::plain(tcp), replay, version, None)
            }
        };
        let pace = Arc::new(Pace::new(self.timeouts));
        if tls.is_some() && version == HttpVersion::One {
            // Browsers open connections ahead of time; an idle one owes nothing yet.
            pace.idle();
        }
        let connection = Arc::new(Connection {
            port: self.port,
            peer,
            local,
            version,
            tls,
            pace,
            descriptor,
        });
        let stream = ClientStream::new(transport, replay, connection).map_err(io::Error::other)?;
        match version {
            HttpVersion::One => h1::drive(&self.app, stream, &self.draining).await,
            HttpVersion::Two => h2::drive(&self.app, stream, &self.draining).await,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
