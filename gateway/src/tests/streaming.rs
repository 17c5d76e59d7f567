//! Bodies, framings and protocols of HTTP/1 clients.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{TO_ECHO, read_answer, start};

#[tokio::test]
async fn head_204_304_and_get_share_one_connection() {
    let running = start(TO_ECHO).await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    for (method, path, status) in [
        ("HEAD", "/api", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("GET", "/api", 200),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        if method == "HEAD" {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(tcp.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        } else {
            let answer = read_answer(&mut tcp).await;
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(answer.header("transfer-encoding"), None);
        }
    }
}

#[tokio::test]
async fn a_body_without_length_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
    let running = start(TO_ECHO).await;
    let modern = running.raw("GET /drip HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(modern.header("transfer-encoding"), Some("chunked"));
    assert_eq!(modern.body, ".".repeat(20));
    let ancient = running.raw("GET /drip HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(ancient.status, 200);
    assert_eq!(ancient.header("transfer-encoding"), None);
    assert_eq!(ancient.body, ".".repeat(20));
}

#[tokio::test]
async fn bytes_are_sent_on_as_they_come() {
    let running = start(TO_ECHO).await;
    for path in ["/drip", "/drip5"] {
        let mut tcp = TcpStream::connect(running.http).await.unwrap();
        let started = Instant::now();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b".\r\n") && !seen.ends_with(b".") {
            seen.push(tcp.read_u8().await.unwrap());
        }
        assert!(
            started.elapsed() < Duration::from_millis(250),
            "{path}: {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn uploads_arrive_whole() {
    let running = start(TO_ECHO).await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    tcp.write_all(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n")
        .await
        .unwrap();
    tcp.write_all(&megabyte).await.unwrap();
    assert_eq!(read_answer(&mut tcp).await.body, "uploaded: 1048576\n");
    tcp.write_all(b"POST /upload HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..10 {
        tcp.write_all(b"5\r\nhello\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tcp.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut tcp).await.body, "uploaded: 50\n");
    let big = running.get("/big", "").await;
    assert_eq!(big.body.len(), 3 << 20);
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_continue() {
    let running = start(TO_ECHO).await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    for _ in 0..2 {
        tcp.write_all(
            b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
        )
        .await
        .unwrap();
        assert_eq!(read_answer(&mut tcp).await.status, 100);
        tcp.write_all(b"hello").await.unwrap();
        let answer = read_answer(&mut tcp).await;
        assert_eq!(answer.body, "uploaded: 5\n");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_websocket_carries_bytes_both_ways() {
    let running = start(TO_ECHO).await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    tcp.write_all(
        b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await
    .unwrap();
    let answer = read_answer(&mut tcp).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    for message in ["one", "two", "three"] {
        tcp.write_all(message.as_bytes()).await.unwrap();
        let mut echoed = vec![0; message.len()];
        tcp.read_exact(&mut echoed).await.unwrap();
        assert_eq!(echoed, message.as_bytes());
    }
}

#[tokio::test]
async fn other_upgrades_are_ordinary_requests() {
    let running = start(TO_ECHO).await;
    let answer = running
        .get("/x", "connection: upgrade\r\nupgrade: h2c\r\n")
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.received("upgrade"), None);
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_complete() {
    let running = start(TO_ECHO).await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    tcp.write_all(b"GET /break HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    let read = tokio::time::timeout(Duration::from_secs(5), tcp.read_to_string(&mut all)).await;
    assert!(read.is_ok(), "the connection must close");
    assert!(
        all.to_ascii_lowercase().contains("content-length: 10") && all.ends_with("..."),
        "{all}"
    );
}
