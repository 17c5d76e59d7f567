//! Tests of the admin port over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::listen::{TakenPorts, bind};

fn started(admin: Admin) -> SocketAddr {
    let listener = bind("127.0.0.1:0".parse().unwrap(), TakenPorts::Refuse, None).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(admin.serve(listener, std::future::pending()));
    address
}

async fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.get(9..12).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn the_standard_pages() {
    let readiness = Readiness::new();
    let policy = readiness.condition("policy");
    let admin = Admin::builder()
        .metrics(Metrics::new("sidecar", "1.0.0").unwrap())
        .readiness(readiness)
        .version("sidecar", "1.0.0")
        .post("/reload", |_| async {
            AdminResponse::text(StatusCode::ACCEPTED, "asked\n")
        })
        .build();
    let address = started(admin);

    assert_eq!(
        ask(address, "GET /livez", "").await,
        (200, "ok\n".to_owned())
    );
    let (status, body) = ask(address, "GET /healthz/ready", "").await;
    assert_eq!(status, 503);
    assert!(body.contains("\"condition\": \"policy\""), "{body}");
    policy.set_ready();
    assert_eq!(ask(address, "GET /healthz/ready", "").await.0, 200);
    assert!(
        ask(address, "GET /metrics", "")
            .await
            .1
            .contains("portcullis_build_info")
    );
    assert!(ask(address, "GET /version", "").await.1.contains("1.0.0"));
    assert_eq!(ask(address, "POST /reload", "").await.0, 202);
    assert_eq!(ask(address, "GET /reload", "").await.0, 405);
    let (status, body) = ask(address, "GET /nothing", "").await;
    assert_eq!(status, 404);
    assert!(body.contains("/metrics"), "{body}");
}

#[tokio::test]
async fn strangers_are_bounded() {
    let address = started(Admin::builder().build());
    let large = "x".repeat(70_000);
    assert_eq!(ask(address, "POST /livez", &large).await.0, 413);
    let head = format!("GET /livez?{}", "x".repeat(20_000));
    assert!(matches!(ask(address, &head, "").await.0, 400..=431));

    let mut stream = TcpStream::connect(address).await.unwrap();
    let foreign = b"POST /livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    stream.write_all(foreign).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_large_page_is_written_while_it_is_read() {
    const ROWS: u64 = 200_000;
    let admin = Admin::builder()
        .get("/large", |_| async {
            AdminResponse::json_stream(Lazy(|| 0..ROWS))
        })
        .get("/broken", |_| async {
            AdminResponse::json_stream(Broken(Lazy(|| 0..ROWS)))
        })
        .build();
    let address = started(admin);
    // A client that never reads holds one place, not the port.
    let mut idle = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /large HTTP/1.1\r\nHost: {address}\r\n\r\n");
    idle.write_all(head.as_bytes()).await.unwrap();

    let (status, body) = ask(address, "GET /large", "").await;
    assert_eq!(status, 200);
    assert!(body.contains("199999"));

    let mut cut = TcpStream::connect(address).await.unwrap();
    let head = format!("GET /broken HTTP/1.1\r\nHost: {address}\r\n\r\n");
    cut.write_all(head.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    cut.read_to_end(&mut all).await.ok();
    assert!(!all.ends_with(b"0\r\n\r\n"), "half a page has no end");
}

struct Broken<T>(T);

impl<T: serde::Serialize> serde::Serialize for Broken<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeSeq as _};
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&self.0)?;
        Err(S::Error::custom("the page cannot be written"))
    }
}
