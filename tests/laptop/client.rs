//! A client that keeps one connection, for what curl cannot show: which connection a request used, and when.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The body of a request.
pub(crate) type Sent = BoxBody<Bytes, Infallible>;

/// No body.
pub(crate) fn nothing() -> Sent {
    Empty::new().boxed()
}

/// A body of known length.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Sent {
    Full::new(bytes.into()).boxed()
}

/// A body that is sent frame by frame; it ends when the sender is dropped.
pub(crate) fn piecemeal() -> (mpsc::Sender<Frame<Bytes>>, Sent) {
    let (sender, frames) = mpsc::channel(4);
    (sender, Piecemeal { frames }.boxed())
}

struct Piecemeal {
    frames: mpsc::Receiver<Frame<Bytes>>,
}

impl Body for Piecemeal {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// One connection, until it is dropped.
pub(crate) struct Connection {
    sender: Sender,
    driver: JoinHandle<hyper::Result<()>>,
}

enum Sender {
    One(http1::SendRequest<Sent>),
    Two(http2::SendRequest<Sent>),
}

impl Connection {
    /// HTTP/1.1 in plain text.
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await.unwrap();
        Self {
            sender: Sender::One(sender),
            driver: tokio::spawn(connection.with_upgrades()),
        }
    }

    /// HTTP/2 in plain text, by prior knowledge.
    pub(crate) async fn http2(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .unwrap();
        Self {
            sender: Sender::Two(sender),
            driver: tokio::spawn(connection),
        }
    }

    /// Sends a request on this connection and no other.
    pub(crate) async fn send(
        &mut self,
        request: Request<Sent>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// `GET url`, with its whole body.
    pub(crate) async fn get(&mut self, url: &str) -> hyper::Result<(Response<()>, Bytes)> {
        let request = self.request("GET", url).body(nothing()).unwrap();
        let (head, body) = self.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((Response::from_parts(head, ()), body))
    }

    /// A request for `http://host/path`, in the form that this connection's protocol wants.
    pub(crate) fn request(&self, method: &str, url: &str) -> http::request::Builder {
        let uri: hyper::Uri = url.parse().unwrap();
        let request = Request::builder().method(method);
        match &self.sender {
            Sender::One(_) => request
                .header("host", uri.authority().unwrap().as_str())
                .uri(uri.path_and_query().unwrap().as_str()),
            Sender::Two(_) => request.uri(uri),
        }
    }

    /// Whether the other side has ended the connection.
    pub(crate) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
