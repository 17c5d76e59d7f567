//! A request body that can be sent more than once: it streams on as it comes, and its first bytes are kept.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use crate::body::{RequestBody, poll_frame_with_content};

/// The body of one request, from which the body of each of its tries is made.
pub(super) struct Original<B> {
    source: Source<B>,
    /// How many bytes went out, over all tries; none if there is no body.
    moved: Option<Arc<AtomicU64>>,
}

enum Source<B> {
    /// There is none.
    Empty,
    /// It is not kept: it can be sent once, or again if nothing of it was sent.
    Once(Option<B>),
    /// Its beginning is kept.
    Kept(Arc<Kept<B>>),
}

/// What was read of a body so far, and the rest of it.
struct Kept<B> {
    inner: Mutex<Inner<B>>,
}

struct Inner<B> {
    rest: B,
    /// Which try may read; bodies of earlier ones are over.
    turn: u32,
    /// The beginning, as far as it was read; at most `most` bytes.
    read: BytesMut,
    /// How much of it this try has had.
    had: usize,
    most: usize,
    /// Whether what is read is still kept.
    keeping: bool,
    trailers: Option<HeaderMap>,
    trailers_had: bool,
    ended: bool,
    failed: bool,
    waker: Option<Waker>,
}

/// The body of one try.
pub struct Replay<B> {
    state: State<B>,
    moved: Option<Arc<AtomicU64>>,
}

enum State<B> {
    Empty,
    Once(B),
    Kept { kept: Arc<Kept<B>>, turn: u32 },
}

/// How many bytes of a request went out.
#[derive(Clone, Debug)]
pub(super) struct Moved(Option<Arc<AtomicU64>>);

impl Moved {
    pub(super) fn so_far(&self) -> u64 {
        let moved = self.0.as_ref();
        moved.map_or(0, |moved| moved.load(Ordering::Relaxed))
    }
}

/// Why the body of a try broke off.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The client broke off, or its connection did.
    #[error("{0}")]
    Body(String),
    /// The try was given up, and another one reads the body.
    #[error("the try was given up")]
    GivenUp,
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Empty => "Replay(empty)",
            State::Once(_) => "Replay(once)",
            State::Kept { .. } => "Replay(kept)",
        })
    }
}

impl<B> Replay<B> {
    /// No body.
    pub(super) const fn empty() -> Self {
        Self {
            state: State::Empty,
            moved: None,
        }
    }
}

impl<B: RequestBody> Original<B> {
    /// The body of a request. At most `most` bytes of it are kept, nothing if none are wanted or it is known to be longer.
    pub(super) fn new(body: B, most: Option<usize>) -> Self {
        if body.is_end_stream() {
            return Self {
                source: Source::Empty,
                moved: None,
            };
        }
        let length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let source = match most.filter(|most| length <= *most && *most > 0) {
            None => Source::Once(Some(body)),
            Some(most) => Source::Kept(Arc::new(Kept {
                inner: Mutex::new(Inner {
                    rest: body,
                    turn: 0,
                    read: BytesMut::new(),
                    had: 0,
                    most,
                    keeping: true,
                    trailers: None,
                    trailers_had: false,
                    ended: false,
                    failed: false,
                    waker: None,
                }),
            })),
        };
        Self {
            source,
            moved: Some(Arc::default()),
        }
    }

    /// The body of the next try; bodies of earlier tries end. None when it cannot be sent once more.
    pub(super) fn next(&mut self) -> Option<Replay<B>> {
        let state = match &mut self.source {
            Source::Empty => State::Empty,
            Source::Once(body) => State::Once(body.take()?),
            Source::Kept(kept) => State::Kept {
                turn: kept.restart()?,
                kept: Arc::clone(kept),
            },
        };
        let moved = self.moved.clone();
        Some(Replay { state, moved })
    }

    /// How many bytes went out, over all tries.
    pub(super) fn moved(&self) -> Moved {
        Moved(self.moved.clone())
    }

    /// Takes a body back of which nothing was sent.
    pub(super) fn unsent(&mut self, body: Replay<B>) {
        if let (Source::Once(place), State::Once(body)) = (&mut self.source, body.state) {
            *place = Some(body);
        }
    }

    /// Whether [`next`](Self::next) would find the whole body.
    pub(super) fn is_whole(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Once(body) => body.is_some(),
            Source::Kept(kept) => kept.inner.lock().is_whole(),
        }
    }

    /// There will be no other try: nothing more is kept.
    pub(super) fn release(&self) {
        if let Source::Kept(kept) = &self.source {
            let mut inner = kept.inner.lock();
            inner.keeping = false;
            inner.forget();
        }
    }
}

impl<B> Kept<B> {
    /// Begins a try: it reads from the start.
    fn restart(&self) -> Option<u32> {
        let mut inner = self.inner.lock();
        if !inner.is_whole() {
            return None;
        }
        inner.turn = inner.turn.wrapping_add(1);
        inner.had = 0;
        inner.trailers_had = false;
        let turn = inner.turn;
        let waker = inner.waker.take();
        drop(inner);
        // The try before waits for the client perhaps; it learns that it is over.
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(turn)
    }
}

impl<B> Inner<B> {
    fn is_whole(&self) -> bool {
        self.keeping && !self.failed
    }

    /// Drops what is kept, as far as the present try has had it.
    fn forget(&mut self) {
        if !self.keeping && self.had == self.read.len() {
            self.read = BytesMut::new();
            self.had = 0;
        }
    }

    fn is_over(&self) -> bool {
        let trailers_wait = self.trailers.is_some() && !self.trailers_had;
        self.ended && self.had == self.read.len() && !trailers_wait
    }

    /// What this try reads of what was read before.
    fn again(&mut self) -> Option<Frame<Bytes>> {
        if let Some(ahead) = self.read.get(self.had..).filter(|ahead| !ahead.is_empty()) {
            let ahead = Bytes::copy_from_slice(ahead);
            self.had = self.read.len();
            self.forget();
            return Some(Frame::data(ahead));
        }
        if self.ended && !self.trailers_had {
            self.trailers_had = true;
            return self.trailers.clone().map(Frame::trailers);
        }
        None
    }

    /// Keeps a copy: the bytes themselves may be a small part of a large buffer.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if self.keeping && self.read.len().saturating_add(data.len()) > self.most {
                self.keeping = false;
            }
            if self.keeping {
                self.read.extend_from_slice(data);
                self.had = self.read.len();
            }
            self.forget();
        } else if let Some(trailers) = frame.trailers_ref() {
            if self.keeping {
                self.trailers = Some(trailers.clone());
            }
            self.trailers_had = true;
            self.ended = true;
        }
    }
}

impl<B: RequestBody> Inner<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        if let Some(frame) = self.again() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        match poll_frame_with_content(&mut self.rest, cx) {
            Poll::Pending => {
                if !self.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    self.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.failed = true;
                Poll::Ready(Some(Err(ReplayError::Body(error.to_string()))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.keep(&frame);
                self.ended |= self.rest.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl<B: RequestBody> Body for Replay<B> {
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        let Self { state, moved } = self.get_mut();
        let polled = match state {
            State::Empty => Poll::Ready(None),
            State::Once(body) => poll_frame_with_content(body, cx)
                .map_err(|error| ReplayError::Body(error.to_string())),
            State::Kept { kept, turn } => {
                let mut inner = kept.inner.lock();
                if inner.turn == *turn {
                    inner.poll(cx)
                } else {
                    Poll::Ready(Some(Err(ReplayError::GivenUp)))
                }
            }
        };
        if let (Poll::Ready(Some(Ok(frame))), Some(moved)) = (&polled, moved)
            && let Some(data) = frame.data_ref()
        {
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            moved.fetch_add(bytes, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Empty => true,
            State::Once(body) => body.is_end_stream(),
            State::Kept { kept, turn } => {
                let inner = kept.inner.lock();
                inner.turn == *turn && inner.is_over()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Empty => SizeHint::with_exact(0),
            State::Once(body) => body.size_hint(),
            State::Kept { kept, .. } => {
                let inner = kept.inner.lock();
                let ahead = inner.read.len().saturating_sub(inner.had);
                let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
                let rest = inner.rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(ahead.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(ahead.saturating_add(upper));
                }
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests;
