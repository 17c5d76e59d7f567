//! Takes connections from one listener and brings each to the driver of its HTTP version.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::apps::HttpServerApp;
use pingora::server::ShutdownWatch;
use runtime::lifecycle::ConnectionCount;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::connection::{Connection, HttpVersion};
use crate::detect::detect;
use crate::pace::{Pace, Timeouts};
use crate::stream::{ClientStream, Transport};
use crate::tls::TlsTerminator;
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

    /// Serves one connection to its end.
    async fn serve(&self, mut tcp: TcpStream, peer: SocketAddr) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let local = tcp.local_addr()?;
        let descriptor = tcp.as_raw_fd();
        let (transport, replay, version, tls) = if self.tls.serves(self.port) {
            let handshake = self.tls.accept(self.port, tcp);
            let (tls, facts, version) = timeout(self.timeouts.handshake, handshake)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            (Transport::tls(tls), Bytes::new(), version, Some(facts))
        } else {
            let Some((version, replay)) = detect(&mut tcp, &self.timeouts).await? else {
                return Ok(());
            };
            (Transport::plain(tcp), replay, version, None)
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
