//! Pages that are written piece by piece, so that their size costs no memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::{Serialize, Serializer};
use tokio::sync::{Semaphore, mpsc};

use super::AdminBody;

/// How many pages are written at a time; each has a thread, since writing waits for the reader.
pub(super) const PLACES: usize = 2;
/// How much is written before it is handed over.
const PIECE: usize = 64 * 1024;
/// How many pieces may wait for the reader.
const WAITING: usize = 2;
/// Serializing nests no deeper than documents do.
const STACK: usize = 1024 * 1024;

/// A list in JSON whose elements are made while they are written.
#[derive(Debug)]
pub struct Lazy<F>(pub F);

impl<F, I> Serialize for Lazy<F>
where
    F: Fn() -> I,
    I: Iterator,
    I::Item: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The body of a page.
#[derive(Debug)]
pub(super) enum PageBody {
    /// All of it; none once it was sent.
    Whole(Option<Bytes>),
    /// What a thread writes.
    Pieces(mpsc::Receiver<Piece>),
}

/// What the thread hands over.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// The page is complete; without it the connection is cut, so that half a page is not taken for a whole one.
    End,
}

impl PageBody {
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }

    /// Begins to write; none if too many pages are being written.
    pub(super) fn of(body: &AdminBody, places: &Arc<Semaphore>) -> Option<Self> {
        let writing = match body {
            AdminBody::Whole(bytes) => return Some(Self::whole(bytes.clone())),
            AdminBody::Streamed(writing) => Arc::clone(writing),
        };
        let place = Arc::clone(places).try_acquire_owned().ok()?;
        let (sender, pieces) = mpsc::channel(WAITING);
        let write = move || {
            let mut page = io::BufWriter::with_capacity(PIECE, Hand { sender: &sender });
            let written = writing(&mut page).and_then(|()| io::Write::flush(&mut page));
            match written {
                Ok(()) => {
                    sender.blocking_send(Piece::End).ok();
                }
                // Usually the reader has left.
                Err(error) => tracing::debug!(%error, "a page was not written to its end"),
            }
            drop(place);
        };
        let started = thread::Builder::new()
            .name("admin page".to_owned())
            .stack_size(STACK)
            .spawn(write);
        started.ok().map(|_| Self::Pieces(pieces))
    }
}

/// Hands over what is written.
struct Hand<'a> {
    sender: &'a mpsc::Sender<Piece>,
}

impl io::Write for Hand<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Piece::Bytes(Bytes::copy_from_slice(bytes));
        self.sender
            .blocking_send(piece)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => Poll::Ready(match ready!(pieces.poll_recv(cx)) {
                Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::End) => {
                    *self = Self::Whole(None);
                    None
                }
                None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(length.try_into().unwrap_or(u64::MAX))
            }
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
