//! Two sidecars between client and application: gRPC with trailers both ways, and WebSocket tunnels.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::fixture::*;
use crate::config::AppProtocol::{Grpc, Http};

/// A body fed by a channel.
struct Fed(mpsc::Receiver<Frame<Bytes>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// Echoes each message as it comes, and ends with a status.
async fn grpc_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<Incoming>| async move {
                let (send, receive) = mpsc::channel(1);
                let mut body = request.into_body();
                tokio::spawn(async move {
                    while let Some(Ok(frame)) = body.frame().await {
                        drop(send.send(frame).await);
                    }
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", "5".parse().unwrap());
                    drop(send.send(Frame::trailers(trailers)).await);
                });
                let response = Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(response.body(Fed(receive)).unwrap())
            });
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn grpc_streams_both_ways_and_keeps_its_trailers() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (grpc_app().await, Grpc), &mtls("STRICT"));
    let documents = service("product", "GRPC", &[(product.inbound, "product")]);
    let order = Sidecar::start(&ca, "order", (nowhere().await, Http), &documents);

    let tcp = TcpStream::connect(order.outbound).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .unwrap();
    tokio::spawn(connection);
    let (send, receive) = mpsc::channel::<Frame<Bytes>>(1);
    let request = Request::post("http://product/x.Y/Z")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Fed(receive))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for message in ["ping", "pong"] {
        send.send(Frame::data(Bytes::from_static(message.as_bytes())))
            .await
            .unwrap();
        let frame = tokio::time::timeout(SOON, body.frame())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(send);
    let last = tokio::time::timeout(SOON, body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "5");
}

/// Answers a WebSocket handshake, then echoes bytes.
async fn websocket_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = until(&mut stream, "\r\n\r\n").await.to_ascii_lowercase();
                assert!(
                    head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
                    "{head}"
                );
                assert!(head.contains("sec-websocket-key: abc"), "{head}");
                let yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
                stream.write_all(yes.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn websockets_tunnel_through_both() {
    let ca = Ca::new();
    let product = Sidecar::start(
        &ca,
        "product",
        (websocket_app().await, Http),
        &mtls("STRICT"),
    );
    let documents = service("product", "HTTP", &[(product.inbound, "product")]);
    let order = Sidecar::start(&ca, "order", (nowhere().await, Http), &documents);
    let mut client = TcpStream::connect(order.outbound).await.unwrap();
    let ask = "GET /chat HTTP/1.1\r\nHost: product\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
    client.write_all(ask.as_bytes()).await.unwrap();
    let head = until(&mut client, "hello").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client.write_all(b"echo me").await.unwrap();
    assert!(until(&mut client, "echo me").await.ends_with("echo me"));
    // The drain waits for the tunnel, and ends with it.
    product.life.begin_drain();
    assert_eq!(product.life.connections().open(), 1);
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(SOON, client.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        product.life.drained().await,
        runtime::lifecycle::Drained::Clean
    );
}
