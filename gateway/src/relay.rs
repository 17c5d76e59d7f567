//! Carries a response body to the client while the rest of the request still goes the other way.

use std::error::Error as StdError;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::Body;
use http_body_util::BodyExt as _;
use pingora::protocols::http::ServerSession;
use thiserror::Error;

use crate::session_body::Upload;

/// Which side ended an exchange early.
#[derive(Debug, Error)]
pub(crate) enum RelayError {
    /// The client left, or broke its framing.
    #[error("the client left")]
    Client(#[from] Box<pingora::Error>),
    /// The upstream broke off in the middle of its response.
    #[error("the response broke off")]
    Upstream(#[source] Box<dyn StdError + Send + Sync>),
}

/// What the end of a response said.
#[derive(Debug, Default)]
pub(crate) struct Trailer {
    /// The `grpc-status` of the trailers.
    pub(crate) grpc_status: Option<HeaderValue>,
}

impl Trailer {
    fn of(trailers: &HeaderMap) -> Self {
        Self {
            grpc_status: trailers.get("grpc-status").cloned(),
        }
    }
}

/// Sends `body` to the client, at most `longest` bytes of it; `upload` goes on meanwhile.
pub(crate) async fn relay<B>(
    session: &mut ServerSession,
    mut body: B,
    upload: &mut Upload,
    longest: Option<u64>,
) -> Result<Trailer, RelayError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let mut left = longest;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            step = upload.step(session) => {
                step?;
                continue;
            }
        };
        let Some(frame) = frame
            .transpose()
            .map_err(|error| RelayError::Upstream(error.into()))?
        else {
            session.finish_body().await?;
            return Ok(Trailer::default());
        };
        match frame.into_data() {
            Ok(data) => {
                if let Some(most) = left {
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    left = most.checked_sub(length);
                    if left.is_none() {
                        let text = "the response is longer than `limits.responseBytes`";
                        return Err(RelayError::Upstream(text.into()));
                    }
                }
                let end = body.is_end_stream();
                session.write_response_body(data, end).await?;
                if end {
                    return Ok(Trailer::default());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    let said = Trailer::of(&trailers);
                    if session.is_http2() {
                        session.write_response_trailers(trailers).await?;
                    } else {
                        session.finish_body().await?;
                    }
                    return Ok(said);
                }
            }
        }
    }
}
