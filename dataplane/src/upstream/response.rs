//! The body of an upstream response, which gives its connection back when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::error::one_line;
use super::pool::Hold;
use crate::body::{RequestBody, UploadState, poll_frame_with_content};

/// The upstream broke off in the middle of its response.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off: {cause}")]
pub struct UpstreamBodyError {
    cause: String,
}

/// The body of a response. Dropping it before its end cancels the exchange.
pub struct UpstreamBody<B: RequestBody> {
    incoming: Incoming,
    hold: Option<Hold<B>>,
    upload: Option<Arc<UploadState>>,
}

impl<B: RequestBody> std::fmt::Debug for UpstreamBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody")
            .field("held", &self.hold.is_some())
            .finish_non_exhaustive()
    }
}

impl<B: RequestBody> UpstreamBody<B> {
    pub(super) fn new(
        incoming: Incoming,
        hold: Option<Hold<B>>,
        upload: Option<Arc<UploadState>>,
    ) -> Self {
        let mut body = Self {
            incoming,
            hold,
            upload,
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The account of the request's upload; `None` when the request had no body.
    pub fn upload(&self) -> Option<&Arc<UploadState>> {
        self.upload.as_ref()
    }

    /// The response is complete: the connection may serve again.
    fn finish(&mut self) {
        if let Some(upload) = &self.upload {
            upload.cancel();
        }
        match self.hold.take() {
            Some(Hold::H1 { connection, pool }) => pool.release(connection),
            // The permit's drop frees the stream's place.
            Some(Hold::H2 { permit }) => drop(permit),
            None => {}
        }
    }
}

impl<B: RequestBody> Drop for UpstreamBody<B> {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.cancel();
        }
    }
}

impl<B: RequestBody> Body for UpstreamBody<B> {
    type Data = Bytes;
    type Error = UpstreamBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamBodyError>>> {
        let this = self.get_mut();
        match ready!(poll_frame_with_content(&mut this.incoming, cx)) {
            Some(Ok(frame)) => {
                if this.incoming.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.hold = None;
                Poll::Ready(Some(Err(UpstreamBodyError {
                    cause: one_line(&error),
                })))
            }
            None => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
