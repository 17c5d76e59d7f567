//! The application behind the gateway: says what it received, or misbehaves as it is asked.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

type Body = BoxBody<Bytes, Infallible>;

/// Starts it on a port of its own.
pub(super) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let service =
                    service_fn(|request| async { Ok::<_, Infallible>(serve(request).await) });
                drop(
                    builder
                        .serve_connection_with_upgrades(TokioIo::new(tcp), service)
                        .await,
                );
            });
        }
    });
    address
}

async fn serve(mut request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(full(""));
    match request.uri().path() {
        "/204" => *response.status_mut() = StatusCode::NO_CONTENT,
        "/304" => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
                .headers_mut()
                .insert("etag", HeaderValue::from_static("\"x\""));
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(600)).await;
            *response.body_mut() = full("slow");
        }
        "/drip" => *response.body_mut() = drip(20),
        "/drip5" => {
            response
                .headers_mut()
                .insert("content-length", HeaderValue::from_static("5"));
            *response.body_mut() = drip(5);
        }
        "/break" => {
            // Announces ten bytes and sends three: hyper closes the connection.
            response
                .headers_mut()
                .insert("content-length", HeaderValue::from_static("10"));
            *response.body_mut() = drip(3);
        }
        "/big" => *response.body_mut() = full("x".repeat(3 << 20)),
        "/upload" => {
            let body = request.into_body().collect().await;
            let bytes = body.map(|body| body.to_bytes().len()).unwrap_or_default();
            *response.body_mut() = full(format!("uploaded: {bytes}\n"));
        }
        "/headers" => {
            let headers = response.headers_mut();
            headers.insert("server", HeaderValue::from_static("upstream"));
            headers.insert("connection", HeaderValue::from_static("x-secret"));
            headers.insert("x-secret", HeaderValue::from_static("1"));
            headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        }
        "/ws" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut chunk = [0; 1024];
                while let Ok(n @ 1..) = io.read(&mut chunk).await {
                    io.write_all(&chunk[..n]).await.unwrap();
                }
            });
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert("connection", HeaderValue::from_static("upgrade"));
            headers.insert("upgrade", HeaderValue::from_static("websocket"));
        }
        "/pkg.Echo/Say" => return grpc(request),
        _ => *response.body_mut() = full(describe(&request)),
    }
    response
}

/// What arrived, a line each.
fn describe<B>(request: &Request<B>) -> String {
    let target = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut text = format!(
        "method: {}\ntarget: {target}\nversion: {:?}\n",
        request.method(),
        request.version()
    );
    if let Some(authority) = request.uri().authority() {
        writeln!(text, "authority: {authority}").unwrap();
    }
    for (name, value) in request.headers() {
        writeln!(text, "{name}: {}", value.to_str().unwrap_or("?")).unwrap();
    }
    text
}

/// Echoes every message, then trailers.
fn grpc(request: Request<Incoming>) -> Response<Body> {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                drop(send.send(Frame::data(data)).await);
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        drop(send.send(Frame::trailers(trailers)).await);
    });
    let mut response = Response::new(Frames(receive).boxed());
    response
        .headers_mut()
        .insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

fn drip(count: usize) -> Body {
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..count {
            if send
                .send(Frame::data(Bytes::from_static(b".")))
                .await
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    Frames(receive).boxed()
}

struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}
