//! A request body of which somebody had a first look, or of which copies are made: it still travels whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::copied::{BodyCopy, CopySink};
use crate::access::Peeked;

/// What was read of a body already, and the rest of it.
#[derive(Debug)]
pub struct Begun<B> {
    read: Bytes,
    trailers: Option<HeaderMap>,
    /// None where there is nothing else.
    rest: Option<B>,
    copies: Vec<CopySink>,
    cap: Option<Cap>,
}

/// How much of a body may still come.
#[derive(Debug)]
struct Cap {
    left: u64,
    exceeded: Arc<AtomicBool>,
}

/// Whether a body turned out to be longer than it may be.
#[derive(Debug, Clone, Default)]
pub struct Exceeded(Option<Arc<AtomicBool>>);

impl Exceeded {
    /// Whether it did, so far.
    pub fn is_so(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BegunError<E> {
    /// It is longer than it may be.
    #[error("it is too large")]
    TooLarge,
    /// By itself.
    #[error(transparent)]
    Body(E),
}

/// What reading a body gives.
type Polled<E> = Poll<Option<Result<Frame<Bytes>, BegunError<E>>>>;

impl<B> Begun<B> {
    /// A body that nobody has looked at.
    pub const fn new(rest: B) -> Self {
        Self::with(Bytes::new(), rest)
    }

    /// A body whose first bytes were read already.
    pub const fn with(begun: Bytes, rest: B) -> Self {
        Self {
            read: begun,
            trailers: None,
            rest: Some(rest),
            copies: Vec::new(),
            cap: None,
        }
    }

    /// No body at all.
    pub const fn empty() -> Self {
        Self {
            read: Bytes::new(),
            trailers: None,
            rest: None,
            copies: Vec::new(),
            cap: None,
        }
    }

    /// Breaks off after `most` bytes, if that is a limit; the handle tells whether it came to that.
    pub fn cap(&mut self, most: Option<u64>) -> Exceeded {
        self.cap = most.map(|left| Cap {
            left,
            exceeded: Arc::default(),
        });
        Exceeded(self.cap.as_ref().map(|cap| Arc::clone(&cap.exceeded)))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Begun<B> {
    /// A copy of the body, which gets what the body's reader reads when it reads it.
    pub fn copy(&mut self) -> BodyCopy {
        if self.is_end_stream() {
            return BodyCopy::empty();
        }
        let (sink, copy) = BodyCopy::open();
        self.copies.push(sink);
        copy
    }

    /// Another body in the place of what was read, which was all of it.
    #[must_use]
    pub fn replaced(self, body: Bytes) -> Self {
        Self {
            read: body,
            rest: self.rest,
            ..Self::empty()
        }
    }

    /// Reads at most `max` bytes ahead (and what else came in one piece with them), and shows them.
    ///
    /// # Errors
    /// The body breaks off.
    pub async fn peek(&mut self, max: usize) -> Result<Peeked, B::Error> {
        let mut read = BytesMut::from(std::mem::take(&mut self.read));
        while read.len() <= max && !self.rest_is_over() {
            let Some(rest) = &mut self.rest else { break };
            let Some(frame) = rest.frame().await.transpose()? else {
                break;
            };
            match frame.into_data() {
                Ok(data) => read.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
        self.read = read.freeze();
        Ok(Peeked {
            bytes: self.read.slice(..self.read.len().min(max)),
            whole: self.read.len() <= max,
        })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Begun<B> {
    fn rest_is_over(&self) -> bool {
        self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Polled<B::Error> {
        let frame = if self.read.has_remaining() {
            Frame::data(std::mem::take(&mut self.read))
        } else if let Some(trailers) = self.trailers.take() {
            Frame::trailers(trailers)
        } else {
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(None);
            };
            match ready!(Pin::new(rest).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(BegunError::Body(error)))),
                Some(Ok(frame)) => frame,
            }
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(cap) = &mut self.cap {
            let Some(left) = cap.left.checked_sub(bytes) else {
                cap.exceeded.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(BegunError::TooLarge)));
            };
            cap.left = left;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn pass_on(&mut self, polled: &Polled<B::Error>) {
        match polled {
            Poll::Pending => return,
            Poll::Ready(Some(Ok(frame))) => {
                for copy in &self.copies {
                    copy.write(frame);
                }
                if !self.is_end_stream() {
                    return;
                }
                self.copies.iter().for_each(CopySink::end);
            }
            Poll::Ready(None) => self.copies.iter().for_each(CopySink::end),
            // Dropped without an end they break off too.
            Poll::Ready(Some(Err(_))) => {}
        }
        self.copies = Vec::new();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Begun<B> {
    type Data = Bytes;
    type Error = BegunError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B::Error> {
        let this = self.get_mut();
        let polled = this.poll_next(cx);
        if !this.copies.is_empty() {
            this.pass_on(&polled);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.trailers.is_none() && self.rest_is_over()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = u64::try_from(self.read.len()).unwrap_or(u64::MAX);
        let rest = match &self.rest {
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(begun.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(begun.saturating_add(upper));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Empty, Full};

    use super::*;

    struct Frames(std::vec::IntoIter<Frame<Bytes>>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.next().map(Ok))
        }
    }

    #[tokio::test]
    async fn a_look_takes_nothing_away() {
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        for (max, shown, whole) in [
            (0, "", false),
            (3, "abc", false),
            (4, "abcd", false),
            (6, "abcdef", true),
            (100, "abcdef", true),
        ] {
            let mut body = Begun::new(Frames(
                vec![
                    Frame::data(Bytes::from_static(b"abc")),
                    Frame::data(Bytes::from_static(b"def")),
                    Frame::trailers(trailers.clone()),
                ]
                .into_iter(),
            ));
            let peeked = body.peek(max).await.unwrap();
            assert_eq!(
                (&*peeked.bytes, peeked.whole),
                (shown.as_bytes(), whole),
                "{max}"
            );
            let all = body.collect().await.unwrap();
            assert_eq!(all.trailers(), Some(&trailers), "{max}");
            assert_eq!(all.to_bytes(), "abcdef", "{max}");
        }
    }

    #[tokio::test]
    async fn copies_get_all_of_it_and_never_stand_in_the_way() {
        let frames = || {
            let trailers = HeaderMap::from_iter([("a".parse().unwrap(), "b".parse().unwrap())]);
            let frames = vec![
                Frame::data(Bytes::from_static(b"abc")),
                Frame::trailers(trailers),
            ];
            Frames(frames.into_iter())
        };
        let mut body = Begun::with(Bytes::from_static(b"first "), frames());
        let (one, two) = (body.copy(), body.copy());
        drop(two);
        let copied = tokio::spawn(one.collect());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "first abc");
        let copied = copied.await.unwrap().unwrap();
        assert!(copied.trailers().is_some());
        assert_eq!(copied.to_bytes(), "first abc");

        // Whoever gives the body up gives its copies up.
        let mut body = Begun::new(frames());
        let copy = body.copy();
        drop(body);
        assert_eq!(
            copy.collect().await.unwrap_err(),
            crate::body::CopyError::BrokenOff
        );

        // A reader that is too slow loses the copy, not the memory.
        let chunk = Bytes::from(vec![0; 96 * 1024]);
        let long = vec![Frame::data(chunk.clone()), Frame::data(chunk)];
        let mut body = Begun::new(Frames(long.into_iter()));
        let copy = body.copy();
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 192 * 1024);
        assert_eq!(
            copy.collect().await.unwrap_err(),
            crate::body::CopyError::Behind
        );
    }

    #[tokio::test]
    async fn an_empty_body_stays_empty_and_a_known_length_stays_known() {
        let mut empty = Begun::new(Empty::<Bytes>::new());
        let peeked = empty.peek(10).await.unwrap();
        assert!(peeked.whole && peeked.bytes.is_empty() && empty.is_end_stream());
        let mut full = Begun::new(Full::new(Bytes::from_static(b"abc")));
        assert_eq!(full.size_hint().exact(), Some(3));
        assert!(full.peek(3).await.unwrap().whole);
        assert_eq!(full.size_hint().exact(), Some(3));
        assert!(!full.is_end_stream());
    }

    #[tokio::test]
    async fn a_body_beyond_its_cap_breaks_off() {
        for (most, good) in [
            (None, true),
            (Some(6), true),
            (Some(5), false),
            (Some(0), false),
        ] {
            let mut body = Begun::new(Full::new(Bytes::from_static(b"abcdef")));
            let exceeded = body.cap(most);
            assert_eq!(body.collect().await.is_ok(), good, "{most:?}");
            assert_eq!(exceeded.is_so(), !good, "{most:?}");
        }
    }
}
