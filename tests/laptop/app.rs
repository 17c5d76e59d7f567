//! An application of the tests' own: it shows what arrives, and does what a request asks for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::client::{Sent, nothing, piecemeal, whole};

/// The application; it ends with the runtime it was started on.
#[derive(Clone)]
pub(crate) struct App {
    /// Where it listens, HTTP/1.1 and HTTP/2 in plain text.
    pub(crate) address: SocketAddr,
    gate: Arc<Semaphore>,
    holding: Arc<AtomicUsize>,
}

impl App {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let app = Self {
            address: listener.local_addr().unwrap(),
            gate: Arc::new(Semaphore::new(0)),
            holding: Arc::new(AtomicUsize::new(0)),
        };
        let me = app.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(me.clone().serve(tcp));
            }
        });
        app
    }

    /// How many requests for `/held` have come so far.
    pub(crate) fn holding(&self) -> usize {
        self.holding.load(Ordering::SeqCst)
    }

    /// Lets one waiting answer of `/gated` or `/held` go on.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(1);
    }

    async fn serve(self, tcp: TcpStream) {
        let answer = service_fn(move |request| {
            let me = self.clone();
            async move { Ok::<_, Infallible>(me.answer(request).await) }
        });
        auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(tcp), answer)
            .await
            .ok();
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Sent> {
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/upload" => upload(request).await,
            "/download" => download(request.uri().query()),
            "/gated" => self.gated(),
            "/trailers" => trailers(request).await,
            "/websocket" => websocket(request),
            "/held" => self.held().await,
            "/204" => status(StatusCode::NO_CONTENT),
            "/304" => status(StatusCode::NOT_MODIFIED),
            grpc if grpc.starts_with("/tests.Echo/") => bidirectional(request),
            _ => shown(&request),
        }
    }

    /// No answer before the gate opens.
    async fn held(self) -> Response<Sent> {
        self.holding.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        Response::new(whole("at last"))
    }

    /// The first line at once, the second when the gate opens.
    fn gated(self) -> Response<Sent> {
        let (frames, body) = piecemeal();
        tokio::spawn(async move {
            frames.send(Frame::data("first\n".into())).await.ok();
            self.gate.acquire().await.unwrap().forget();
            frames.send(Frame::data("second\n".into())).await.ok();
        });
        Response::new(body)
    }
}

fn status(status: StatusCode) -> Response<Sent> {
    let mut response = Response::new(nothing());
    *response.status_mut() = status;
    response
}

/// The request's head as JSON.
fn shown(request: &Request<Incoming>) -> Response<Sent> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let head = json!({
        "method": request.method().as_str(),
        "target": request.uri().path_and_query().unwrap().as_str(),
        "version": format!("{:?}", request.version()),
        "headers": headers,
    });
    let mut response = Response::new(whole(head.to_string()));
    let json = "application/json".parse().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// How many bytes came, what they add up to, and how they were framed.
async fn upload(request: Request<Incoming>) -> Response<Sent> {
    let announced = request.body().size_hint().exact();
    let mut body = request.into_body();
    let (mut bytes, mut sum) = (0_usize, 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return status(StatusCode::BAD_REQUEST);
        };
        if let Some(data) = frame.data_ref() {
            bytes += data.len();
            sum += data.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
    }
    let told = json!({ "bytes": bytes, "sum": sum, "announced": announced });
    Response::new(whole(told.to_string()))
}

/// So many MiB, without a length.
fn download(mib: Option<&str>) -> Response<Sent> {
    let mib: usize = mib.and_then(|mib| mib.parse().ok()).unwrap_or(1);
    let (frames, body) = piecemeal();
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..mib * 16 {
            if frames.send(Frame::data(chunk.clone())).await.is_err() {
                return;
            }
        }
    });
    Response::new(body)
}

/// Trailers of its own, which repeat those that came.
async fn trailers(request: Request<Incoming>) -> Response<Sent> {
    let came = request.into_body().collect().await.unwrap();
    let mut back = came.trailers().cloned().unwrap_or_default();
    back.insert("x-checksum", "ours".parse().unwrap());
    let (frames, body) = piecemeal();
    tokio::spawn(async move {
        frames.send(Frame::data("body".into())).await.ok();
        frames.send(Frame::trailers(back)).await.ok();
    });
    let mut response = Response::new(body);
    let names = "x-checksum, x-came".parse().unwrap();
    response.headers_mut().insert("trailer", names);
    response
}

/// Each message back as it comes, then grpc-status 0.
fn bidirectional(request: Request<Incoming>) -> Response<Sent> {
    let (frames, body) = piecemeal();
    tokio::spawn(async move {
        let mut came = request.into_body();
        while let Some(Ok(frame)) = came.frame().await {
            if let Ok(data) = frame.into_data() {
                frames.send(Frame::data(data)).await.ok();
            }
        }
        let mut end = hyper::HeaderMap::new();
        end.insert("grpc-status", "0".parse().unwrap());
        end.insert("grpc-message", "well%20done".parse().unwrap());
        frames.send(Frame::trailers(end)).await.ok();
    });
    let mut response = Response::new(body);
    let grpc = "application/grpc".parse().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

/// Switches protocols and sends back whatever comes.
fn websocket(mut request: Request<Incoming>) -> Response<Sent> {
    if request
        .headers()
        .get(UPGRADE)
        .is_none_or(|to| to != "websocket")
    {
        return status(StatusCode::UPGRADE_REQUIRED);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, "websocket".parse().unwrap());
    headers.insert(CONNECTION, "upgrade".parse().unwrap());
    headers.insert(
        "sec-websocket-accept",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".parse().unwrap(),
    );
    response
}
