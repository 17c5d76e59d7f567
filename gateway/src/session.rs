//! The two ends of a client's request: its head arrives, its connection is handed on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::SERVER;
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;

use crate::answer::SERVER_NAME;
use crate::connection::Connection;
use crate::drain;
use crate::pace::Phase;

/// How long a refused client may go on sending before its connection is closed; closing at once
/// could destroy the answer that it has not read yet (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// Waits for a request head. `None` when there will be none: the client left, took too long, was
/// idle when the process began to drain, or sent what is no request and was told so.
pub(crate) async fn accept(
    session: &mut ServerSession,
    draining: &ShutdownWatch,
) -> Option<Arc<Connection>> {
    let connection = Connection::of(session)?;
    let pace = &connection.pace;
    let read = {
        let read = session.read_request();
        tokio::pin!(read);
        tokio::select! {
            biased;
            read = &mut read => Some(read),
            () = drain::begins(draining) => match pace.phase() {
                Phase::Idle => None,
                // A head has begun: it has its own deadline.
                Phase::Head | Phase::Busy => Some(read.await),
            },
        }
    };
    match read {
        Some(Ok(true)) => {}
        Some(Ok(false)) => return None,
        Some(Err(error)) => {
            refuse(session, &error).await;
            return None;
        }
        None => {
            session.shutdown().await;
            return None;
        }
    }
    pace.busy();
    let stream_idle = Some(pace.timeouts().stream_idle);
    session.set_read_timeout(stream_idle);
    session.set_write_timeout(stream_idle);
    session.set_total_drain_timeout(Some(LINGER));
    Some(connection)
}

/// Answers what is no request, unless the stream has already answered or nobody is there.
async fn refuse(session: &mut ServerSession, error: &pingora::Error) {
    if matches!(error.etype(), pingora::ErrorType::InvalidHTTPHeader) {
        let mut answer = ServerSession::generate_error(400);
        // A header that cannot be added leaves an answer that is good enough.
        drop(answer.insert_header(SERVER, &SERVER_NAME));
        drop(session.write_error_response(answer, Bytes::new()).await);
    }
    session.shutdown().await;
}

/// Ends a request. Returns the connection when it may carry another one.
pub(crate) async fn finish(mut session: ServerSession, complete: bool) -> Option<ReusedHttpStream> {
    if !complete {
        session.shutdown().await;
        return None;
    }
    if session.finish_body().await.is_err() {
        return None;
    }
    if let ServerSession::H1(http1) = &mut session
        && !http1.will_keepalive()
        && !http1.was_upgraded()
        && !http1.is_body_done()
    {
        drop(http1.drain_request_body().await);
    }
    let settings = HttpPersistentSettings::for_session(&session);
    let reusable = session.finish().await.ok()??;
    Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
}
