//! Questions to a process's admin port, over HTTP on the loopback.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A loopback answer that takes longer than this is no answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any status document of ours.
const LARGEST: usize = 4 << 20;

/// A page that is as large as the documents are, and how long it may take.
const LARGEST_PAGE: usize = 512 << 20;
const PAGE_PATIENCE: Duration = Duration::from_mins(1);

/// The body of a successful `GET path` that may be large.
pub(crate) async fn get_large(address: SocketAddr, path: &str) -> Result<Bytes, String> {
    let request = http::Request::get(path);
    let asked = ask(address, request, Bytes::new(), LARGEST_PAGE);
    let asked = tokio::time::timeout(PAGE_PATIENCE, asked).await;
    let (status, body) = asked.map_err(|_elapsed| format!("{address}{path} takes too long"))??;
    if status.is_success() {
        Ok(body)
    } else {
        let why = String::from_utf8_lossy(&body);
        Err(format!("{address}{path} answered {status}: {}", why.trim()))
    }
}

/// The status and body of `GET path`; an error in words.
pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
) -> Result<(http::StatusCode, Bytes), String> {
    in_time(address, http::Request::get(path), Bytes::new()).await
}

/// The status and body of `POST path` with a body; an error in words.
pub(crate) async fn post(
    address: SocketAddr,
    path: &str,
    body: Bytes,
) -> Result<(http::StatusCode, Bytes), String> {
    in_time(address, http::Request::post(path), body).await
}

/// The status and body of `PUT path` with a body; an error in words.
pub(crate) async fn put(
    address: SocketAddr,
    path: &str,
    body: Bytes,
) -> Result<(http::StatusCode, Bytes), String> {
    ask_for(address, http::Method::PUT, path, body).await
}

/// The status and body of any request; an error in words.
pub(crate) async fn ask_for(
    address: SocketAddr,
    method: http::Method,
    path: &str,
    body: Bytes,
) -> Result<(http::StatusCode, Bytes), String> {
    let request = http::Request::builder().method(method).uri(path);
    in_time(address, request, body).await
}

async fn in_time(
    address: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
) -> Result<(http::StatusCode, Bytes), String> {
    match tokio::time::timeout(PATIENCE, ask(address, request, body, LARGEST)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(format!(
            "no answer from {address} within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// The JSON that a successful `GET path` answers with.
pub(crate) async fn get_json(address: SocketAddr, path: &str) -> Result<serde_json::Value, String> {
    let (status, body) = get(address, path).await?;
    if !status.is_success() {
        return Err(format!("{address}{path} answered {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{address}{path}: {error}"))
}

async fn ask(
    address: SocketAddr,
    request: http::request::Builder,
    body: Bytes,
    largest: usize,
) -> Result<(http::StatusCode, Bytes), String> {
    let words = |error: &dyn std::error::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| words(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| words(&error))?;
    let driver = tokio::spawn(connection);
    let request = request
        .header(http::header::HOST, address.to_string())
        .header(http::header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| words(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| words(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), largest)
        .collect()
        .await
        .map_err(|error| format!("{address}: {error}"))?
        .to_bytes();
    driver.abort();
    Ok((status, body))
}
