//! Drives one HTTP/1 connection: request after request until either side has had enough.

use std::sync::Arc;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use crate::stream::ClientStream;

/// Serves the requests of `stream`, one after the other.
///
/// The application reads the request head itself; it also ends an idle connection when the process
/// begins to drain.
pub(crate) async fn drive<A>(app: &Arc<A>, stream: ClientStream, draining: &ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let pace = stream.pace();
    let mut session = ServerSession::new_http1(Box::new(stream));
    // Zero is "for ever": the stream itself keeps the deadline between requests.
    session.set_keepalive(Some(0));
    // Otherwise a client that sends its next request early would cut off its current one.
    session.set_pipelining_enabled(true);
    while let Some(reused) = app.process_new_http(session, draining).await {
        let (stream, settings) = reused.consume();
        pace.idle();
        session = ServerSession::new_http1(stream);
        if let Some(settings) = settings {
            settings.apply_to_session(&mut session);
        }
    }
}
