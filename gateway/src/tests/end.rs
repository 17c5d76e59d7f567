//! The end of the process: what is under way finishes, what is idle closes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{TO_ECHO, read_answer, start};

#[tokio::test]
async fn draining_finishes_requests_and_says_goodbye() {
    let running = start(TO_ECHO).await;
    let mut idle = TcpStream::connect(running.http).await.unwrap();
    idle.write_all(b"GET /api HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut idle).await.status, 200);
    let mut busy = TcpStream::connect(running.http).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let tcp = TcpStream::connect(running.http).await.unwrap();
    let (mut send, connection) =
        handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let stream = send.send_request(
        Request::get("http://a.example.com/slow")
            .body(Empty::new())
            .unwrap(),
    );
    let stream = tokio::spawn(stream);
    tokio::time::sleep(Duration::from_millis(150)).await;

    let begun = Instant::now();
    running.drain.send(true).unwrap();
    assert_eq!(
        idle.read(&mut [0; 10]).await.unwrap(),
        0,
        "an idle connection closes"
    );
    assert!(begun.elapsed() < Duration::from_millis(200));
    let answer = read_answer(&mut busy).await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    let response = stream.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "slow"
    );
    let goodbye = tokio::time::timeout(Duration::from_secs(2), connection).await;
    assert!(
        goodbye.is_ok(),
        "GOAWAY ends an HTTP/2 connection whose streams are done"
    );
    tokio::time::timeout(Duration::from_secs(2), running.connections.idle())
        .await
        .expect("nothing is left open");
    assert!(
        TcpStream::connect(running.http).await.is_err(),
        "nobody accepts any more"
    );
}
