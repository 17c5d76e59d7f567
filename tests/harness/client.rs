//! A small HTTP client: one request per connection, plain or TLS, HTTP/1.1 or HTTP/2.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::dial;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What the request travels in.
#[derive(Clone)]
pub enum Transport {
    Plain,
    Tls(Arc<ClientConfig>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

impl Version {
    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Why there is no answer, and how far the request came.
#[derive(Debug)]
pub enum RequestError {
    /// No TCP connection.
    Connect(io::Error),
    /// The TLS handshake failed on our side of it.
    Handshake(io::Error),
    /// The connection broke, which is also how TLS 1.3 tells that our certificate was refused.
    Http(hyper::Error),
    /// Nothing for a long time.
    Timeout,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Handshake(error) => write!(f, "no handshake: {error}"),
            Self::Http(error) => {
                write!(f, "no answer: {error}")?;
                let mut source = std::error::Error::source(error);
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            Self::Timeout => write!(f, "nothing within {REQUEST_TIMEOUT:?}"),
        }
    }
}

/// A request without a body; `target` in origin or absolute form.
pub fn request(method: &str, host: &str, target: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(target)
        .header(http::header::HOST, host)
        .body(Full::default())
        .unwrap()
}

/// `GET path` over HTTP/1.1, with the address as host.
pub async fn get(
    address: SocketAddr,
    transport: &Transport,
    path: &str,
) -> Result<Reply, RequestError> {
    get_as(address, transport, &address.to_string(), path).await
}

/// `GET path` over HTTP/1.1, for this host.
pub async fn get_as(
    address: SocketAddr,
    transport: &Transport,
    host: &str,
    path: &str,
) -> Result<Reply, RequestError> {
    send(
        address,
        transport,
        Version::Http1,
        request("GET", host, path),
    )
    .await
}

/// Sends one request on a connection of its own and reads the whole answer.
pub async fn send(
    address: SocketAddr,
    transport: &Transport,
    version: Version,
    request: Request<Full<Bytes>>,
) -> Result<Reply, RequestError> {
    match timeout(
        REQUEST_TIMEOUT,
        exchange(address, transport, version, request),
    )
    .await
    {
        Ok(result) => result,
        Err(_elapsed) => Err(RequestError::Timeout),
    }
}

async fn exchange(
    address: SocketAddr,
    transport: &Transport,
    version: Version,
    request: Request<Full<Bytes>>,
) -> Result<Reply, RequestError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(RequestError::Connect)?;
    match transport {
        Transport::Plain => speak(stream, version, request).await,
        Transport::Tls(config) => {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![version.alpn().to_vec()];
            let connector = TlsConnector::from(Arc::new(config));
            let stream = connector.connect(dial::server_name(), stream).await;
            speak(stream.map_err(RequestError::Handshake)?, version, request).await
        }
    }
}

async fn speak<S>(
    stream: S,
    version: Version,
    mut request: Request<Full<Bytes>>,
) -> Result<Reply, RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let response = match version {
        Version::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
                .await
                .map_err(RequestError::Http)?;
            tokio::spawn(connection);
            sender
                .send_request(request)
                .await
                .map_err(RequestError::Http)?
        }
        Version::Http2 => {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                    .await
                    .map_err(RequestError::Http)?;
            tokio::spawn(connection);
            // HTTP/2 has the host in `:authority`.
            if let Some(host) = request.headers_mut().remove(http::header::HOST) {
                let host = host.to_str().unwrap();
                *request.uri_mut() = format!("http://{host}{}", request.uri()).parse().unwrap();
            }
            sender
                .send_request(request)
                .await
                .map_err(RequestError::Http)?
        }
    };
    read(response).await
}

async fn read(response: Response<Incoming>) -> Result<Reply, RequestError> {
    let (head, body) = response.into_parts();
    let collected = body.collect().await.map_err(RequestError::Http)?;
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        trailers: collected.trailers().cloned(),
        body: collected.to_bytes(),
    })
}
