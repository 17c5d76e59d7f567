//! The HTTP side of the admin port.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::stream::PageBody;
use super::{Admin, AdminRequest, AdminResponse, guard};

const CONNECTIONS: usize = 64;
const HEAD_BYTES: usize = 16 * 1024;
const BODY_BYTES: usize = 64 * 1024;
const HEAD_TIME: Duration = Duration::from_secs(5);
const BODY_TIME: Duration = Duration::from_secs(10);
/// No admin connection lives longer, whatever it does.
const CONNECTION_TIME: Duration = Duration::from_mins(5);

impl Admin {
    /// Serves until `shutdown` ends. The listener comes from [`crate::listen::bind`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(shutdown);
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return Ok(());
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut shutdown => return Ok(()),
            };
            match accepted {
                Ok((stream, _)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        let served = admin.connection(stream);
                        // How an admin client leaves is its own affair.
                        tokio::time::timeout(CONNECTION_TIME, served).await.ok();
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
        let local = stream
            .local_addr()
            .map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.handle(request, local).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "admin connection ended");
        }
    }

    async fn handle(&self, request: Request<Incoming>, local: IpAddr) -> Response<PageBody> {
        let (head, body) = request.into_parts();
        if let Err(reason) = guard::check(&head.method, &head.headers, local) {
            return self.finished(&AdminResponse::text(StatusCode::FORBIDDEN, reason));
        }
        let body = tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_BYTES).collect()).await;
        let answer = match body {
            Ok(Ok(body)) => {
                let request = AdminRequest {
                    method: head.method,
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().map(str::to_owned),
                    body: body.to_bytes(),
                };
                self.answer(request).await
            }
            Ok(Err(_)) => {
                AdminResponse::text(StatusCode::PAYLOAD_TOO_LARGE, "body too large or broken\n")
            }
            Err(_) => {
                AdminResponse::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly\n")
            }
        };
        self.finished(&answer)
    }

    fn finished(&self, answer: &AdminResponse) -> Response<PageBody> {
        if let Some(body) = PageBody::of(&answer.body, &self.streams) {
            return head(answer.status, answer.content_type, body);
        }
        let busy = "other large pages are being read; try again in a second\n";
        head(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain; charset=utf-8",
            PageBody::whole(busy),
        )
    }
}

fn head(status: StatusCode, content_type: &'static str, body: PageBody) -> Response<PageBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
