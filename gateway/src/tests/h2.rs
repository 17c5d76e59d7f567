//! HTTP/2 clients: over TLS and by prior knowledge, gRPC with trailers, many streams.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Running, TO_ECHO, start};

async fn cleartext(running: &Running) -> SendRequest<Full<Bytes>> {
    let tcp = TcpStream::connect(running.http).await.unwrap();
    let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(tcp))
        .await
        .unwrap();
    tokio::spawn(connection);
    send
}

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("http://a.example.com{path}"))
        .body(Full::from(body))
        .unwrap()
}

#[tokio::test]
async fn prior_knowledge_is_understood_in_clear_text() {
    let running = start(TO_ECHO).await;
    let mut client = cleartext(&running).await;
    let response = client
        .send_request(request("/upload", "hello"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["server"], "portcullis");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "uploaded: 5\n");
}

#[tokio::test]
async fn alpn_chooses_http2_over_tls() {
    let running = start(TO_ECHO).await;
    let tls = super::tls::connect(&running, "shop.example.com", &[b"h2"], rustls::ALL_VERSIONS)
        .await
        .unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .unwrap();
    tokio::spawn(connection);
    let get = |host: &str| {
        Request::get(format!("https://{host}/x"))
            .body(Empty::new())
            .unwrap()
    };
    let response = client.send_request(get("shop.example.com")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let misdirected = client.send_request(get("bank.example.com")).await.unwrap();
    assert_eq!(misdirected.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn grpc_messages_and_trailers_go_through() {
    let running = start(TO_ECHO).await;
    let mut client = cleartext(&running).await;
    let mut call = request("/pkg.Echo/Say", "a message");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "a message");
}

#[tokio::test]
async fn a_refused_grpc_call_has_a_status_and_no_body() {
    let running = start("").await;
    let mut client = cleartext(&running).await;
    let mut call = request("/pkg.Echo/Say", "a message");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let response = client.send_request(call).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[tokio::test]
async fn errors_end_their_stream_properly() {
    let running = start("").await;
    let mut client = cleartext(&running).await;
    for _ in 0..3 {
        let response = client.send_request(request("/", "")).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let running = start(TO_ECHO).await;
    let client = cleartext(&running).await;
    let calls = (0..80).map(|_| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let response = client
                .send_request(request("/upload", "hello"))
                .await
                .unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), "uploaded: 5\n");
    }
    assert_eq!(running.connections.open(), 1);
}
