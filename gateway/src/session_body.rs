//! The request body on its way from a Pingora session to the upstream connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dataplane::Begun;
use dataplane::access::Peeked;
use http_body::{Body, Frame, SizeHint};
use pingora::protocols::http::ServerSession;
use tokio::sync::{mpsc, oneshot};

/// A request body: the receiving end of a channel with one chunk of slack.
///
/// The end is said outright, so that a client that vanishes aborts the upload instead of making it
/// look short but complete.
#[derive(Debug)]
pub struct SessionBody(State);

#[derive(Debug)]
enum State {
    Done,
    /// Nobody has asked for the body yet; the client waits until somebody does.
    Held(oneshot::Sender<()>, mpsc::Receiver<Option<Bytes>>),
    Open(mpsc::Receiver<Option<Bytes>>),
}

impl SessionBody {
    /// The body of a request that has none.
    pub(crate) const fn empty() -> Self {
        Self(State::Done)
    }
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let State::Held(..) = self.0
            && let State::Held(wanted, chunks) = std::mem::replace(&mut self.0, State::Done)
        {
            if wanted.send(()).is_err() {
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            self.0 = State::Open(chunks);
        }
        let State::Open(chunks) = &mut self.0 else {
            return Poll::Ready(None);
        };
        match ready!(chunks.poll_recv(cx)) {
            Some(Some(chunk)) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            Some(None) => {
                self.0 = State::Done;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match self.0 {
            State::Done => SizeHint::with_exact(0),
            State::Held(..) | State::Open(_) => SizeHint::default(),
        }
    }
}

/// The client's side of an exchange: its upload, then the watch for its departure.
#[derive(Debug)]
pub(crate) enum Upload {
    /// The client waits for `100 Continue`, which it gets when somebody asks for the body.
    Held(oneshot::Receiver<()>, mpsc::Sender<Option<Bytes>>),
    /// Somebody asked for the body; the client is to be told.
    Wanted(mpsc::Sender<Option<Bytes>>),
    /// The body is being sent.
    Sending(mpsc::Sender<Option<Bytes>>),
    /// All was sent; only the client's leaving is of interest.
    Sent,
    /// The upstream reads no more; what the client still sends stays where it is.
    Unwanted,
}

/// When a client begins to send its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// At once.
    Unasked,
    /// After `100 Continue` (RFC 9110 §10.1.1).
    WhenTold,
}

/// Sends `100 Continue`.
pub(crate) async fn tell_to_go_on(session: &mut ServerSession) -> Result<(), Box<pingora::Error>> {
    // Otherwise Pingora takes the 100 for an early answer and gives up keep-alive.
    session.set_close_on_response_before_downstream_finish(false);
    session.write_continue_response().await?;
    session.set_close_on_response_before_downstream_finish(true);
    Ok(())
}

/// What was read of a request's body before it was routed.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    read: Bytes,
    end: bool,
}

impl Preview {
    /// Reads at most `max` bytes of the body ahead, and what else came in one piece with them.
    pub(crate) async fn of(
        session: &mut ServerSession,
        max: usize,
    ) -> Result<Self, Box<pingora::Error>> {
        let mut read = BytesMut::new();
        let mut end = session.is_body_empty();
        while !end && read.len() <= max {
            match session.read_request_body().await? {
                Some(chunk) => read.extend_from_slice(&chunk),
                None => end = true,
            }
        }
        Ok(Self {
            read: read.freeze(),
            end,
        })
    }

    /// The first `max` bytes.
    pub(crate) fn show(&self, max: usize) -> Peeked {
        Peeked {
            bytes: self.read.slice(..self.read.len().min(max)),
            whole: self.end && self.read.len() <= max,
        }
    }
}

impl Upload {
    /// The two ends of the body of the request that `session` has just read, with what `preview` has of it.
    pub(crate) fn of(
        session: &mut ServerSession,
        preview: Preview,
        begins: Begins,
    ) -> (Self, Begun<SessionBody>) {
        let (upload, rest) = if preview.end || session.is_body_empty() {
            (Self::Sent, SessionBody::empty())
        } else {
            let (sender, receiver) = mpsc::channel(1);
            match begins {
                Begins::Unasked => (Self::Sending(sender), SessionBody(State::Open(receiver))),
                Begins::WhenTold => {
                    let (want, wanted) = oneshot::channel();
                    let body = SessionBody(State::Held(want, receiver));
                    (Self::Held(wanted, sender), body)
                }
            }
        };
        (upload, Begun::with(preview.read, rest))
    }

    /// Moves one chunk, or waits for the client to leave. To be awaited again and again beside the
    /// response; safe to drop between chunks.
    ///
    /// # Errors
    /// The client is gone, or broke the framing of its body.
    pub(crate) async fn step(
        &mut self,
        session: &mut ServerSession,
    ) -> Result<(), Box<pingora::Error>> {
        match self {
            Self::Held(wanted, chunks) => {
                *self = match wanted.await {
                    Ok(()) => Self::Wanted(chunks.clone()),
                    Err(_) => Self::Unwanted,
                };
                Ok(())
            }
            Self::Wanted(chunks) => {
                tell_to_go_on(session).await?;
                *self = Self::Sending(chunks.clone());
                Ok(())
            }
            Self::Sending(chunks) => {
                let Ok(slot) = chunks.reserve().await else {
                    *self = Self::Unwanted;
                    return Ok(());
                };
                if let Some(chunk) = session.read_request_body().await? {
                    slot.send(Some(chunk));
                } else {
                    slot.send(None);
                    *self = Self::Sent;
                }
                Ok(())
            }
            Self::Sent => session.read_body_or_idle(true).await.map(drop),
            Self::Unwanted => std::future::pending().await,
        }
    }
}
