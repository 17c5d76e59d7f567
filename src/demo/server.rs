//! A small HTTP server around one service: listening socket, connections, SIGTERM.

use std::future::Future;
use std::net::TcpListener as StdListener;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DemoServer;
use crate::exit::{Context as _, Exit, Failure};

/// The largest body that a demo service reads.
const LARGEST_BODY: usize = 64 << 10;
/// How long requests in flight may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// An answer in memory.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A request whose body has been read.
pub(crate) type Call = Request<Bytes>;

/// What a demo service does.
pub(crate) trait Service: Send + Sync + 'static {
    /// Its name, in bodies.
    fn name(&self) -> &'static str;
    /// Its version, in bodies and in the header `x-service-version`.
    fn version(&self) -> &str;
    /// Answers a request that is not about health.
    fn answer(&self, call: Call) -> impl Future<Output = Answer> + Send;
}

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(flags: &DemoServer, service: impl Service) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    runtime.block_on(async {
        let listener = listener(flags)?;
        serve(listener, Arc::new(service))
            .await
            .context(|| "cannot serve".to_owned())
    })?;
    Ok(Exit::Fine)
}

/// The socket of `--listen`, or the one that standard input is.
fn listener(flags: &DemoServer) -> Result<TcpListener, Failure> {
    let listener = if let Some(address) = flags.listen {
        StdListener::bind(address).context(|| format!("cannot listen on {address}"))?
    } else {
        let input = std::io::stdin().as_fd().try_clone_to_owned();
        StdListener::from(input.context(|| "cannot use standard input".to_owned())?)
    };
    listener
        .set_nonblocking(true)
        .and_then(|()| listener.local_addr())
        .map_err(|error| Failure::usage(format!("standard input is no listening socket: {error}")))
        .map_err(|failure| failure.hint("give an address with --listen"))?;
    TcpListener::from_std(listener).context(|| "cannot listen".to_owned())
}

async fn serve(listener: TcpListener, service: Arc<impl Service>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let Ok((stream, _peer)) = accepted else {
            // Out of descriptors, or the peer left: accepting again at once would only spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // An answer is one small write; waiting to fill a segment would only delay it.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let service = Arc::clone(&service);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        let connection = builder
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| respond(Arc::clone(&service), request)),
            )
            .into_owned();
        tokio::spawn(graceful.watch(connection));
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
    Ok(())
}

async fn respond(
    service: Arc<impl Service>,
    request: Request<Incoming>,
) -> Result<Answer, std::convert::Infallible> {
    let mut answer = if request.uri().path().starts_with("/health/") {
        health(&*service, request.method())
    } else {
        let (parts, body) = request.into_parts();
        match Limited::new(body, LARGEST_BODY).collect().await {
            Ok(body) => {
                service
                    .answer(Request::from_parts(parts, body.to_bytes()))
                    .await
            }
            Err(_unread) => problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is above 64 KiB"),
        }
    };
    if let Ok(version) = HeaderValue::from_str(service.version()) {
        answer.headers_mut().insert("x-service-version", version);
    }
    Ok(answer)
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    service: &'static str,
    version: &'a str,
}

/// `/health/live` and `/health/ready`; any other health is as good.
fn health(service: &impl Service, method: &Method) -> Answer {
    if method == Method::GET || method == Method::HEAD {
        let (name, version) = (service.name(), service.version());
        json(
            StatusCode::OK,
            &Health {
                status: "ok",
                service: name,
                version,
            },
        )
    } else {
        problem(StatusCode::METHOD_NOT_ALLOWED, "health can only be read")
    }
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// An answer that says what is wrong.
pub(crate) fn problem(status: StatusCode, message: &str) -> Answer {
    json(
        status,
        &serde_json::json!({ "status": status.as_u16(), "error": message }),
    )
}
