//! Body types shared by both proxies: the upload wrapper that counts and can be cancelled, and local bodies.

mod begun;
mod copied;
mod observed;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

pub use begun::{Begun, BegunError, Exceeded};
pub use copied::{BodyCopy, CopyError};
pub use observed::{BodyEnd, BodyReport, Observed, grpc_status};

/// The error type of bodies whose origin does not matter to the reader.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a request body must be to travel upstream; implemented for every type that fits.
///
/// Its errors need to be shown only; they are for logs.
pub trait RequestBody: Body<Data = Bytes, Error: fmt::Display> + Send + Unpin + 'static {}

impl<B> RequestBody for B where B: Body<Data = Bytes, Error: fmt::Display> + Send + Unpin + 'static {}

/// Why an upload ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The exchange is over (answered, timed out or abandoned): the rest of the body has no reader.
    #[error("the exchange ended before the request body did")]
    Cancelled,
    /// The sender of the request failed; the upstream must see a reset, never a clean end.
    #[error("the request body failed: {0}")]
    Body(String),
}

/// What is known about an upload while it runs; shared by the body and whoever waits for the response.
#[derive(Debug, Default)]
pub struct UploadState {
    bytes: AtomicU64,
    failed: AtomicBool,
    finished: AtomicBool,
    cancelled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl UploadState {
    /// Body bytes handed to the upstream connection so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the request's own body failed: the client went away or broke the protocol.
    pub fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether the whole body was handed over.
    pub fn finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Ends the upload: its next poll yields [`UploadError::Cancelled`].
    pub fn cancel(&self) {
        if self.finished() {
            return;
        }
        self.cancelled.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A request body on its way upstream: counted, and cancelled together with its exchange.
#[derive(Debug)]
pub struct Upload<B> {
    inner: B,
    /// `None` for a body that was empty from the start: nothing to count or to cancel.
    state: Option<Arc<UploadState>>,
}

impl<B: RequestBody> Upload<B> {
    /// Wraps `inner`; an empty body costs no allocation.
    pub fn new(inner: B) -> Self {
        let state = (!inner.is_end_stream()).then(Arc::default);
        Self { inner, state }
    }

    /// The running account of this upload; `None` for an empty body.
    pub fn state(&self) -> Option<&Arc<UploadState>> {
        self.state.as_ref()
    }

    /// Gives back a body that was never polled.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

/// Whether a frame carries nothing. Such frames are not passed on: HTTP/2 peers end a connection, with everybody's
/// streams on it, after a hundred of them.
fn carries_nothing(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

/// The next frame of `body` that carries something.
pub(crate) fn poll_frame_with_content<B>(
    body: &mut B,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if !matches!(&polled, Poll::Ready(Some(Ok(frame))) if carries_nothing(frame)) {
            return polled;
        }
    }
}

impl<B: RequestBody> Body for Upload<B> {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let Some(state) = &this.state else {
            return poll_frame_with_content(&mut this.inner, cx)
                .map_err(|e| UploadError::Body(e.to_string()));
        };
        if state.cancelled.load(Ordering::Acquire) {
            return Poll::Ready(Some(Err(UploadError::Cancelled)));
        }
        match poll_frame_with_content(&mut this.inner, cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    let n = u64::try_from(data.remaining()).unwrap_or(u64::MAX);
                    state.bytes.fetch_add(n, Ordering::Relaxed);
                }
                if this.inner.is_end_stream() {
                    state.finished.store(true, Ordering::Release);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                state.failed.store(true, Ordering::Release);
                Poll::Ready(Some(Err(UploadError::Body(error.to_string()))))
            }
            Poll::Ready(None) => {
                state.finished.store(true, Ordering::Release);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let mut waker = state.waker.lock();
                if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                drop(waker);
                // `cancel` may have come between the first look and the waker being stored.
                if state.cancelled.load(Ordering::Acquire) {
                    return Poll::Ready(Some(Err(UploadError::Cancelled)));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
