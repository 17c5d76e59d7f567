//! A copy of a body for a second reader, made while the first one reads, who never waits for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use thiserror::Error;

/// How many bytes a copy may lie behind. One that lies further behind is given up.
const MAX_BEHIND: usize = 128 * 1024;

/// Why a copy has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CopyError {
    /// The body itself broke off, or nobody read it to its end.
    #[error("the copied body broke off")]
    BrokenOff,
    /// Its reader is too slow.
    #[error("the copy lies too far behind the body")]
    Behind,
}

/// The copy of a body.
#[derive(Debug)]
pub struct BodyCopy(Arc<Mutex<State>>);

/// The end of a [`BodyCopy`] that the body writes to.
#[derive(Debug)]
pub(super) struct CopySink(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    behind: usize,
    end: Option<Result<(), CopyError>>,
    waker: Option<Waker>,
    reader_is_gone: bool,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl BodyCopy {
    /// The copy of a body without content.
    pub(super) fn empty() -> Self {
        Self(Arc::new(Mutex::new(State {
            end: Some(Ok(())),
            ..State::default()
        })))
    }

    /// A copy and where it is written to.
    pub(super) fn open() -> (CopySink, Self) {
        let state = Arc::new(Mutex::new(State::default()));
        (CopySink(Arc::clone(&state)), Self(state))
    }
}

impl CopySink {
    /// Passes a frame on.
    pub(super) fn write(&self, frame: &Frame<Bytes>) {
        let mut state = self.0.lock();
        if state.end.is_some() || state.reader_is_gone {
            return;
        }
        if let Some(data) = frame.data_ref() {
            state.behind += data.len();
            if state.behind > MAX_BEHIND {
                state.pieces = VecDeque::new();
                state.finish(Err(CopyError::Behind));
                return;
            }
            state.pieces.push_back(Piece::Data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            state.pieces.push_back(Piece::Trailers(trailers.clone()));
        }
        state.wake();
    }

    /// The body has ended well.
    pub(super) fn end(&self) {
        self.0.lock().finish(Ok(()));
    }
}

impl Drop for CopySink {
    fn drop(&mut self) {
        self.0.lock().finish(Err(CopyError::BrokenOff));
    }
}

impl State {
    fn finish(&mut self, end: Result<(), CopyError>) {
        if self.end.is_none() {
            self.end = Some(end);
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Body for BodyCopy {
    type Data = Bytes;
    type Error = CopyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CopyError>>> {
        let mut state = self.0.lock();
        match state.pieces.pop_front() {
            Some(Piece::Data(data)) => {
                state.behind = state.behind.saturating_sub(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Some(Piece::Trailers(trailers)) => {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            None => {}
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        state.pieces.is_empty() && state.end == Some(Ok(()))
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            SizeHint::default()
        }
    }
}

impl Drop for BodyCopy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reader_is_gone = true;
        state.pieces = VecDeque::new();
    }
}
