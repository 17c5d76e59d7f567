//! Drives one HTTP/2 connection: a task per stream, GOAWAY when idle for too long or draining.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora::protocols::{Digest, GetProxyDigest as _};
use pingora::server::ShutdownWatch;
use tokio::time::Instant;

use crate::drain;
use crate::stream::ClientStream;

/// A client that sends this many malformed requests on one connection loses the connection.
const MAX_MALFORMED_REQUESTS: usize = 32;

/// How long a client may take to close its side after GOAWAY once nothing is in flight.
const GOODBYE: Duration = Duration::from_secs(5);

/// Shared by the streams of a connection; larger than one stream's, so that an upload that nobody
/// reads cannot stall its neighbours.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Serves the requests of `stream`, each in a task of its own.
pub(crate) async fn drive<A>(app: &Arc<A>, stream: ClientStream, draining: &ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let pace = stream.pace();
    let idle_timeout = pace.timeouts().idle;
    let digest = Arc::new(Digest {
        proxy_digest: stream.get_proxy_digest(),
        ..Digest::default()
    });
    let Ok(mut connection) = handshake(Box::new(stream), Some(options())).await else {
        return;
    };

    let active = Arc::new(AtomicUsize::new(0));
    let mut malformed = 0;
    let mut leaving = false;
    let timer = tokio::time::sleep(idle_timeout);
    tokio::pin!(timer);
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain::begins(draining), if !leaving => {
                connection.graceful_shutdown();
                leaving = true;
                timer.as_mut().reset(Instant::now() + GOODBYE);
                continue;
            }
            // Cancel-safe, and what drives the whole connection.
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = &mut timer => {
                let busy = active.load(Ordering::Acquire) > 0;
                match (busy, leaving) {
                    (true, true) => timer.as_mut().reset(Instant::now() + GOODBYE),
                    (true, false) => timer.as_mut().reset(Instant::now() + idle_timeout),
                    (false, true) => return,
                    (false, false) => {
                        connection.graceful_shutdown();
                        leaving = true;
                        timer.as_mut().reset(Instant::now() + GOODBYE);
                    }
                }
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                pace.busy();
                if !leaving {
                    timer.as_mut().reset(Instant::now() + idle_timeout);
                }
                let app = Arc::clone(app);
                let draining = draining.clone();
                let stream = ActiveStream::enter(&active);
                tokio::spawn(async move {
                    app.process_new_http(ServerSession::new_http2(session), &draining)
                        .await;
                    drop(stream);
                });
            }
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                if malformed >= MAX_MALFORMED_REQUESTS {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

fn options() -> H2Options {
    let mut options = default_h2_options();
    options.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    options
}

/// Counts a stream while its task runs, also when the task is dropped or panics.
struct ActiveStream(Arc<AtomicUsize>);

impl ActiveStream {
    fn enter(active: &Arc<AtomicUsize>) -> Self {
        active.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(active))
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
