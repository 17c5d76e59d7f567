//! What the gateway refuses, strips, adds and makes canonical.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{TO_ECHO, read_answer, start};

#[tokio::test]
async fn what_is_forged_is_stripped_and_what_we_vouch_for_is_added() {
    let running = start(TO_ECHO).await;
    let answer = running
        .get(
            "/api",
            "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/a/sa/b\r\n\
             x-envoy-retry-on: 5xx\r\nx-istio-attributes: x\r\nx-portcullis-identity: x\r\n\
             x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\nx-request-id: mine\r\n\
             connection: keep-alive, x-hop\r\nx-hop: 1\r\nte: gzip\r\nproxy-authorization: x\r\n\
             authorization: Bearer t\r\n",
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for gone in [
        "x-forwarded-client-cert",
        "x-envoy-retry-on",
        "x-istio-attributes",
        "x-portcullis-identity",
        "x-hop",
        "te",
        "proxy-authorization",
    ] {
        assert_eq!(answer.received(gone), None, "{gone}");
    }
    assert_eq!(answer.received("authorization"), Some("Bearer t"));
    let forwarded: Vec<&str> = answer
        .received("x-forwarded-for")
        .unwrap()
        .split(',')
        .map(str::trim)
        .collect();
    assert_eq!(forwarded, ["203.0.113.9", "127.0.0.1"]);
    assert_eq!(answer.received("x-forwarded-proto"), Some("http"));
    assert_eq!(answer.received("x-request-id").map(str::len), Some(36));
    assert!(answer.received("traceparent").unwrap().starts_with("00-"));
    assert_eq!(answer.received("host"), Some("a.example.com"));
    assert_eq!(answer.header("server"), Some("portcullis"));
    assert!(answer.header("x-envoy-upstream-service-time").is_some());
    assert!(answer.header("date").is_some());
}

#[tokio::test]
async fn a_trace_is_continued() {
    let running = start(TO_ECHO).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = running.get("/", &format!("traceparent: {trace}\r\n")).await;
    let received = answer.received("traceparent").unwrap();
    assert!(
        received.contains("4bf92f3577b34da6a3ce929d0e0e4736"),
        "{received}"
    );
}

#[tokio::test]
async fn hop_by_hop_headers_of_responses_end_here() {
    let running = start(TO_ECHO).await;
    let answer = running.get("/headers", "").await;
    assert_eq!(answer.header("server"), Some("portcullis"));
    assert_eq!(answer.header("x-secret"), None);
    assert_eq!(answer.header("keep-alive"), None);
    assert_eq!(answer.header("connection"), Some("keep-alive"));
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let running = start(TO_ECHO).await;
    for (name, request) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        ("empty host", "GET / HTTP/1.1\r\nhost: \r\n\r\n"),
        ("bad host", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n"),
        ("no host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n"),
        (
            "both framings",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "unknown coding",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        ),
        (
            "one length twice",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2, 2\r\n\r\n{}",
        ),
        (
            "a length with zeros in front",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 00000000000000000002\r\n\r\n{}",
        ),
        (
            "coding in HTTP/1.0",
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            "underscore",
            "GET / HTTP/1.1\r\nhost: a\r\nx_forwarded_for: 1.2.3.4\r\n\r\n",
        ),
        ("not a path", "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("escaped nothing", "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("no request", "hello\r\n\r\n"),
    ] {
        let answer = running.raw(request).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert_eq!(answer.header("server"), Some("portcullis"), "{name}");
    }
    let connect = running
        .raw("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")
        .await;
    assert_eq!(connect.status, 405);
    let expect = running
        .raw("GET / HTTP/1.1\r\nhost: a\r\nexpect: miracles\r\n\r\n")
        .await;
    assert_eq!(expect.status, 417);
}

#[tokio::test]
async fn the_path_is_canonical_before_it_is_forwarded() {
    let running = start(TO_ECHO).await;
    for (sent, received) in [
        ("/a/../b?x=/../y", "/b?x=/../y"),
        ("/%61/./b", "/a/b"),
        ("/a\\b", "/a/b"),
        ("/plain#fragment", "/plain"),
    ] {
        let answer = running.get(sent, "").await;
        assert_eq!(
            answer.received("target"),
            Some(received),
            "{sent}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn hosts_are_compared_without_case_and_without_the_roots_dot() {
    let running = start(TO_ECHO).await;
    let answer = running
        .raw("GET / HTTP/1.1\r\nHost: A.Example.COM.:80\r\n\r\n")
        .await;
    assert_eq!(answer.received("host"), Some("a.example.com:80"));
    let absolute = "GET http://a.example.com/x HTTP/1.1\r\nhost: a.example.com\r\n\r\n";
    assert_eq!(running.raw(absolute).await.received("target"), Some("/x"));
}

#[tokio::test]
async fn a_refused_upload_can_still_read_its_answer() {
    let running = start("").await;
    let mut tcp = TcpStream::connect(running.http).await.unwrap();
    tcp.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n")
        .await
        .unwrap();
    tcp.write_all(&vec![b'x'; 200_000]).await.unwrap();
    let answer = read_answer(&mut tcp).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("connection"), Some("close"));
}
