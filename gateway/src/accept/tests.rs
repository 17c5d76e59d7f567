//! Deadlines, framing and drain of client connections, with an application that echoes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Door;
use crate::connection::Connection;
use crate::pace::Timeouts;
use crate::response::{After, write_head};
use crate::tls::TlsTerminator;

/// Answers ten bytes; `/slow` after 300 ms, `/drip` in five steps of 100 ms.
#[derive(Debug)]
struct Echo;

#[async_trait]
impl HttpServerApp for Echo {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        draining: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        tokio::select! {
            biased;
            read = session.read_request() => if !read.ok()? { return None },
            () = crate::drain::begins(draining) => {
                session.shutdown().await;
                return None;
            }
        }
        Connection::of(&session).unwrap().pace.busy();
        let path = session.req_header().uri.path().to_owned();
        if path == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let response = http::Response::builder()
            .header("content-length", "10")
            .body(())
            .unwrap();
        let (parts, ()) = response.into_parts();
        write_head(&mut session, parts, After::Body, draining)
            .await
            .ok()?;
        if path == "/drip" {
            for step in 0..5 {
                session
                    .write_response_body(Bytes::from_static(b"ab"), step == 4)
                    .await
                    .ok()?;
                let wait = tokio::time::sleep(Duration::from_millis(100));
                tokio::pin!(wait);
                tokio::select! {
                    () = &mut wait => {}
                    _ = session.read_body_or_idle(true) => return None,
                }
            }
        } else {
            session
                .write_response_body(Bytes::from_static(b"0123456789"), true)
                .await
                .ok()?;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let reusable = session.finish().await.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// Connections at once.
const PLACES: usize = 8;

struct Running {
    address: SocketAddr,
    drain: tokio::sync::watch::Sender<bool>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, draining) = tokio::sync::watch::channel(false);
    let door = Arc::new(Door {
        app: Arc::new(Echo),
        port: 80,
        tls: Arc::new(TlsTerminator::default()),
        opaque: None,
        timeouts: Timeouts {
            handshake: Duration::from_millis(400),
            request_head: Duration::from_millis(300),
            idle: Duration::from_millis(500),
            stream_idle: Duration::from_secs(5),
        },
        places: Arc::new(Semaphore::new(PLACES)),
        connections: runtime::lifecycle::ConnectionCount::default(),
        draining,
    });
    tokio::spawn(door.accept(listener));
    Running { address, drain }
}

/// Reads until the peer closes, with a limit; returns what came and how long it took.
async fn until_close(tcp: &mut TcpStream) -> (String, Duration) {
    let started = Instant::now();
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(3), tcp.read_to_end(&mut all)).await;
    let _reset_is_fine = read.expect("the connection must close");
    (
        String::from_utf8_lossy(&all).into_owned(),
        started.elapsed(),
    )
}

async fn read_response(tcp: &mut TcpStream) -> String {
    let mut all = Vec::new();
    while !all.ends_with(b"0123456789") {
        let mut chunk = [0; 1024];
        let n = tokio::time::timeout(Duration::from_secs(3), tcp.read(&mut chunk))
            .await
            .unwrap()
            .unwrap();
        assert!(n > 0, "closed early: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&chunk[..n]);
    }
    String::from_utf8(all).unwrap()
}

fn about(took: Duration, millis: u64) -> bool {
    (Duration::from_millis(millis - 50)..Duration::from_millis(millis + 400)).contains(&took)
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_head_that_stops_is_answered_408() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    let (answer, took) = until_close(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(about(took, 300), "{took:?}");
}

#[tokio::test]
async fn a_head_that_drips_is_answered_408() {
    let running = start().await;
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let (mut from, mut to) = tcp.into_split();
    let started = Instant::now();
    let dripping = tokio::spawn(async move {
        for byte in b"GET /a-long-path-that-never-ends-at-all HTTP/1.1\r\n" {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut answer = vec![0; 12];
    from.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert!(about(started.elapsed(), 300));
    dripping.abort();
}

#[tokio::test]
async fn the_second_head_has_the_same_deadline() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(GET).await.unwrap();
    assert!(read_response(&mut tcp).await.starts_with("HTTP/1.1 200"));
    tcp.write_all(b"GET / HT").await.unwrap();
    let (answer, took) = until_close(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(about(took, 300), "{took:?}");
}

#[tokio::test]
async fn silence_is_closed_without_a_word() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    let (answer, took) = until_close(&mut tcp).await;
    assert_eq!(answer, "");
    assert!(about(took, 400), "{took:?}");

    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(GET).await.unwrap();
    read_response(&mut tcp).await;
    let (answer, took) = until_close(&mut tcp).await;
    assert_eq!(answer, "");
    assert!(about(took, 500), "{took:?}");
}

#[tokio::test]
async fn a_head_without_end_is_answered_431() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let line = format!("x-filler: {}\r\n", "y".repeat(1000));
    for _ in 0..100 {
        if tcp.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    let (answer, _) = until_close(&mut tcp).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

#[tokio::test]
async fn a_response_with_a_length_is_sent_as_it_comes() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    let started = Instant::now();
    tcp.write_all(b"GET /drip HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 15];
    tcp.read_exact(&mut first).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(200),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = start().await;
    let mut tcp = TcpStream::connect(running.address).await.unwrap();
    tcp.write_all(&[GET, GET, GET].concat()).await.unwrap();
    let mut all = String::new();
    while all.matches("0123456789").count() < 3 {
        all.push_str(&read_response(&mut tcp).await);
    }
    assert_eq!(all.matches("HTTP/1.1 200").count(), 3);
}

#[tokio::test]
async fn draining_closes_the_idle_and_finishes_the_busy() {
    let running = start().await;
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(GET).await.unwrap();
    read_response(&mut idle).await;
    let mut busy = TcpStream::connect(running.address).await.unwrap();
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;

    running.drain.send(true).unwrap();
    let (answer, took) = until_close(&mut idle).await;
    assert_eq!(answer, "");
    assert!(took < Duration::from_millis(150), "{took:?}");
    let (answer, _) = until_close(&mut busy).await;
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert!(answer.ends_with("0123456789"));
    assert!(
        TcpStream::connect(running.address).await.is_err(),
        "the listener must be closed"
    );
}

#[tokio::test]
async fn connections_are_bounded_and_their_places_come_back() {
    let running = start().await;
    let mut open = Vec::new();
    for _ in 0..PLACES {
        let mut client = TcpStream::connect(running.address).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).await.unwrap();
        open.push(client);
    }
    let mut next = TcpStream::connect(running.address).await.unwrap();
    next.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(100), next.read_exact(&mut byte));
    assert!(read.await.is_err(), "served beyond the bound");
    open.pop();
    let read = tokio::time::timeout(Duration::from_secs(5), next.read_exact(&mut byte));
    read.await.unwrap().unwrap();
}
