//! One client connection as Pingora sees it: buffered, with a deadline for what it waits for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use http::StatusCode;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::connection::{Connection, HttpVersion};
use crate::pace::{Pace, Phase};

/// A request head longer than this is answered 431; HTTP/2 has the same limit of its own.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Responses collect here so that a head and a short body leave in one packet, one TLS record.
const WRITE_BUFFER_BYTES: usize = 4096;

/// The transport below HTTP.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Plain TCP.
    Plain(BufWriter<TcpStream>),
    /// TLS, terminated here.
    Tls(Box<BufWriter<TlsStream<TcpStream>>>),
}

impl Transport {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self::Plain(BufWriter::with_capacity(WRITE_BUFFER_BYTES, tcp))
    }

    pub(crate) fn tls(tls: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(BufWriter::with_capacity(WRITE_BUFFER_BYTES, tls)))
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Sync + Unpin)> {
        match self {
            Self::Plain(io) => Pin::new(io),
            Self::Tls(io) => Pin::new(io.as_mut()),
        }
    }
}

/// A client connection that closes itself when its client takes too long.
#[derive(Debug)]
pub(crate) struct ClientStream {
    /// Bytes read while the protocol was being told apart; they come first.
    replay: Bytes,
    transport: Transport,
    version: HttpVersion,
    pace: Arc<Pace>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes of the request head read so far.
    head_bytes: usize,
    /// Something was written and not yet flushed.
    unflushed: bool,
    digest: Arc<ProxyDigest>,
    id: UniqueIDType,
}

impl ClientStream {
    /// Wraps `transport`; `replay` was already read from it. The facts of `connection` travel with
    /// every session of the stream and come back by [`Connection::of`].
    pub(crate) fn new(
        transport: Transport,
        replay: Bytes,
        connection: Arc<Connection>,
    ) -> Result<Self, Box<pingora::Error>> {
        let id = connection.descriptor;
        let version = connection.version;
        Ok(Self {
            head_bytes: 0,
            replay,
            transport,
            version,
            pace: Arc::clone(&connection.pace),
            timer: None,
            unflushed: false,
            digest: connection.into_digest()?,
            id,
        })
    }

    /// The deadlines of this connection.
    pub(crate) fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }

    /// Ends a wait that took too long: an idle connection simply ends, an unfinished HTTP/1 request
    /// head is answered.
    fn expire(&mut self, cx: &mut Context<'_>, phase: Phase) -> Poll<io::Result<()>> {
        if phase == Phase::Idle {
            return Poll::Ready(Ok(()));
        }
        self.refuse(cx, StatusCode::REQUEST_TIMEOUT);
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the request head took too long",
        )))
    }

    /// Writes a last answer as far as the socket takes it without waiting.
    fn refuse(&mut self, cx: &mut Context<'_>, status: StatusCode) {
        if self.version == HttpVersion::Two {
            return;
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 {} {reason}\r\nserver: portcullis\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            status.as_str()
        );
        let mut writer = self.transport.writer();
        if writer.as_mut().poll_write(cx, answer.as_bytes()).is_ready() {
            drop(writer.poll_flush(cx));
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let deadline = tokio::time::Instant::from_std(deadline);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }

    /// Sends what was written: whoever waits for input has no more to say for now. Pingora itself
    /// keeps a response with a content length until it is complete.
    fn flush_before_waiting(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(result) = self.transport.writer().poll_flush(cx)
        {
            result?;
            self.unflushed = false;
        }
        Ok(())
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.replay.has_remaining() {
            let n = me.replay.len().min(buf.remaining());
            buf.put_slice(&me.replay.split_to(n));
            me.head_bytes += n;
            return Poll::Ready(Ok(()));
        }
        me.flush_before_waiting(cx)?;
        let (phase, deadline) = me.pace.now();
        match phase {
            Phase::Busy => {
                me.head_bytes = 0;
                return me.transport.read(cx, buf);
            }
            Phase::Idle => me.head_bytes = 0,
            Phase::Head if me.head_bytes >= MAX_HEAD_BYTES && me.version == HttpVersion::One => {
                me.refuse(cx, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the request head is too large",
                )));
            }
            Phase::Head => {}
        }
        // A client that drips bytes is always readable, so the clock is asked first.
        if Instant::now() >= deadline {
            return me.expire(cx, phase);
        }
        let before = buf.filled().len();
        match me.transport.read(cx, buf) {
            Poll::Ready(result) => {
                let n = buf.filled().len() - before;
                me.head_bytes += n;
                if phase == Phase::Idle && n > 0 {
                    me.pace.head();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(me.poll_deadline(cx, deadline));
                me.expire(cx, phase)
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.transport.writer().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.transport.writer().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport.writer().poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.writer().poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // The client may be gone already; there is nobody left to tell.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl Ssl for ClientStream {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(match self.version {
            HttpVersion::One => ALPN::H1,
            HttpVersion::Two => ALPN::H2,
        })
    }
}

impl GetTimingDigest for ClientStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for ClientStream {}
