//! Plain HTTP to service names through the sidecar's outbound port, on kept-alive connections.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

/// The mesh's own timeouts are shorter; this one is for a sidecar that is gone.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_IDLE: usize = 64;
const LARGEST: usize = 1 << 20;

/// What a service hands on from the request it is answering, so that traces and canaries hold together.
const HANDED_ON: [&str; 9] = [
    // The time that is left of the request: what it calls belongs to the same deadline.
    "x-envoy-expected-rq-timeout-ms",
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-canary",
    "x-version",
];

/// The sidecar's outbound port.
#[derive(Debug)]
pub(crate) struct Outbound {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
}

impl Outbound {
    /// Through the sidecar that listens at `address`.
    pub(crate) fn through(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Mutex::default(),
        }
    }

    /// `GET http://<service><path>`; the headers are those of the request being answered.
    pub(crate) async fn get(
        &self,
        service: &str,
        path: &str,
        inbound: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), String> {
        match tokio::time::timeout(PATIENCE, self.ask(service, path, inbound)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!("cannot call {service}: {error}")),
            Err(_elapsed) => Err(format!("{service} does not answer")),
        }
    }

    async fn ask(
        &self,
        service: &str,
        path: &str,
        inbound: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = || {
            let mut request = Request::get(path).header(header::HOST, service);
            for name in HANDED_ON {
                for value in inbound.get_all(name) {
                    request = request.header(name, value);
                }
            }
            request
                .body(Empty::new())
                .map_err(|error| error.to_string())
        };
        let (mut sender, kept) = match self.take_idle() {
            Some(sender) => (sender, true),
            None => (self.dial().await?, false),
        };
        let answer = match sender.send_request(request()?).await {
            Ok(answer) => answer,
            // The sidecar closed a kept connection at the same moment: a GET may be sent again.
            Err(_closed) if kept => {
                sender = self.dial().await?;
                sender
                    .send_request(request()?)
                    .await
                    .map_err(|error| error.to_string())?
            }
            Err(error) => return Err(error.to_string()),
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        self.keep(sender);
        Ok((status, body))
    }

    async fn dial(&self) -> Result<SendRequest<Empty<Bytes>>, String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| error.to_string())?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut idle = self.idle.lock();
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep(&self, sender: SendRequest<Empty<Bytes>>) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }
}
