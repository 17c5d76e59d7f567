//! A response body under the request's deadline.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::body::{RequestBody, UploadState};
use crate::telemetry::ResponseFlags;
use crate::upstream::{UpstreamBody, UpstreamBodyError};

/// Why a response that had begun did not end well; the client must see a reset, never a clean end.
#[derive(Debug, thiserror::Error)]
pub enum ForwardBodyError {
    /// The upstream broke off.
    #[error(transparent)]
    Upstream(#[from] UpstreamBodyError),
    /// The request's deadline passed.
    #[error("the request's deadline passed in the middle of the response")]
    Deadline,
}

impl ForwardBodyError {
    /// The response flag that the access log and the metrics show.
    pub const fn flags(&self) -> ResponseFlags {
        match self {
            Self::Upstream(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Deadline => ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
        }
    }
}

/// The body of a forwarded response. Dropping it before its end cancels the exchange.
pub struct ForwardBody<B: RequestBody> {
    /// `None` once the deadline passed: the exchange is cancelled at that moment.
    upstream: Option<UpstreamBody<B>>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: RequestBody> fmt::Debug for ForwardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBody")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl<B: RequestBody> ForwardBody<B> {
    pub(super) fn new(upstream: UpstreamBody<B>, timer: Option<Pin<Box<Sleep>>>) -> Self {
        let timer = timer.filter(|_| !upstream.is_end_stream());
        Self {
            upstream: Some(upstream),
            timer,
        }
    }

    /// The account of the request's upload; `None` when the request had no body.
    pub fn upload(&self) -> Option<&Arc<UploadState>> {
        self.upstream.as_ref()?.upload()
    }
}

impl<B: RequestBody> Body for ForwardBody<B> {
    type Data = Bytes;
    type Error = ForwardBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardBodyError>>> {
        let this = self.get_mut();
        let Some(upstream) = &mut this.upstream else {
            return Poll::Ready(None);
        };
        if let Some(timer) = &mut this.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            this.timer = None;
            this.upstream = None;
            return Poll::Ready(Some(Err(ForwardBodyError::Deadline)));
        }
        let polled = Pin::new(&mut *upstream).poll_frame(cx);
        if upstream.is_end_stream() {
            this.timer = None;
        }
        polled.map_err(ForwardBodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream
            .as_ref()
            .map(Body::size_hint)
            .unwrap_or_default()
    }
}
