//! Carries bytes both ways after `101 Switching Protocols`.

use std::io;

use bytes::BytesMut;
use pingora::protocols::http::ServerSession;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const CHUNK_BYTES: usize = 16 * 1024;

/// Which side ended a tunnel with an error.
#[derive(Debug, Error)]
pub(crate) enum TunnelError {
    /// The client's side.
    #[error("the client's side of the tunnel broke")]
    Client(#[source] Box<pingora::Error>),
    /// The application's side.
    #[error("the application's side of the tunnel broke")]
    Upstream(#[from] io::Error),
}

/// Runs until the application closes its side, or either side breaks.
pub(crate) async fn tunnel<I>(session: &mut ServerSession, upstream: I) -> Result<(), TunnelError>
where
    I: AsyncRead + AsyncWrite,
{
    // A quiet WebSocket is a healthy one.
    session.set_read_timeout(None);
    session.set_write_timeout(None);
    let (mut from, mut to) = tokio::io::split(upstream);
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    let mut open = true;
    loop {
        tokio::select! {
            read = from.read_buf(&mut chunk) => {
                if read? == 0 {
                    return Ok(());
                }
                let bytes = chunk.split().freeze();
                session.write_response_body(bytes, false).await.map_err(TunnelError::Client)?;
                chunk.reserve(CHUNK_BYTES);
            }
            read = session.read_request_body(), if open => {
                if let Some(bytes) = read.map_err(TunnelError::Client)? {
                    to.write_all(&bytes).await?;
                    to.flush().await?;
                } else {
                    open = false;
                    to.shutdown().await?;
                }
            }
        }
    }
}
