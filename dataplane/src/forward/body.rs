//! A response body under the request's deadline.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use policies::resilience::Admission;
use tokio::time::{Instant, Sleep, sleep_until};

use super::replay::Replay;
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
    /// Nothing moved for too long.
    #[error("no byte of the exchange moved for too long")]
    Idle,
}

impl ForwardBodyError {
    /// The response flag that the access log and the metrics show.
    pub const fn flags(&self) -> ResponseFlags {
        match self {
            Self::Upstream(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::Deadline => ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            Self::Idle => ResponseFlags::STREAM_IDLE_TIMEOUT,
        }
    }
}

/// The body of a forwarded response. Dropping it before its end cancels the exchange.
pub struct ForwardBody<B: RequestBody> {
    /// `None` once a timer cut it: the exchange is cancelled at that moment.
    upstream: Option<UpstreamBody<Replay<B>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    idle: Option<Idle>,
    /// The request's place among those under way, until its response is over.
    admission: Option<Admission>,
}

/// The longest time without a byte.
struct Idle {
    longest: Duration,
    timer: Pin<Box<Sleep>>,
    /// Bytes of the upload at the last look.
    uploaded: u64,
}

impl<B: RequestBody> fmt::Debug for ForwardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBody")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl<B: RequestBody> ForwardBody<B> {
    pub(super) fn new(
        upstream: UpstreamBody<Replay<B>>,
        deadline: Option<Instant>,
        idle: Option<Duration>,
        admission: Option<Admission>,
    ) -> Self {
        let mut body = Self {
            deadline: None,
            idle: None,
            admission,
            upstream: Some(upstream),
        };
        if body.is_end_stream() {
            body.over();
        } else {
            body.deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
            body.idle = idle.map(Idle::new);
        }
        body
    }

    /// The account of the request's upload; `None` when the request had no body.
    pub fn upload(&self) -> Option<&Arc<UploadState>> {
        self.upstream.as_ref()?.upload()
    }

    fn over(&mut self) {
        self.deadline = None;
        self.idle = None;
        drop(self.admission.take());
    }

    fn cut(
        &mut self,
        why: ForwardBodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, ForwardBodyError>>> {
        self.upstream = None;
        self.over();
        Poll::Ready(Some(Err(why)))
    }
}

impl Idle {
    fn new(longest: Duration) -> Self {
        Self {
            longest,
            timer: Box::pin(tokio::time::sleep(longest)),
            uploaded: 0,
        }
    }

    fn moved(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.longest);
    }

    /// Whether nothing has moved for too long; `uploaded` bytes have gone the other way.
    fn is_over(&mut self, cx: &mut Context<'_>, uploaded: u64) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            if uploaded == self.uploaded {
                return true;
            }
            self.uploaded = uploaded;
            self.moved();
        }
        false
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
        if let Some(timer) = &mut this.deadline
            && timer.as_mut().poll(cx).is_ready()
        {
            return this.cut(ForwardBodyError::Deadline);
        }
        match Pin::new(&mut *upstream).poll_frame(cx) {
            Poll::Pending => {
                let uploaded = upstream.upload().map_or(0, |upload| upload.bytes());
                if let Some(idle) = &mut this.idle
                    && idle.is_over(cx, uploaded)
                {
                    return this.cut(ForwardBodyError::Idle);
                }
                Poll::Pending
            }
            Poll::Ready(frame) => {
                if upstream.is_end_stream() || !matches!(frame, Some(Ok(_))) {
                    this.over();
                } else if let Some(idle) = &mut this.idle {
                    idle.moved();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(ForwardBodyError::from)))
            }
        }
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
