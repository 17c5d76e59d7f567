//! Calls the Dapr way, between two sidecars.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::TcpStream;

use super::fixture::*;
use crate::config::AppProtocol::Http;
use crate::dapr::wire::{HttpExtension, InvokeRequest, InvokeResponse, InvokeServiceRequest, Verb};

/// `product` serves, `order` calls it; the address of its API.
async fn pair(ca: &Ca) -> (Sidecar, Sidecar, std::net::SocketAddr) {
    let product = Sidecar::start(ca, "product", (app().await, Http), &mtls("STRICT"));
    let documents = service("product", "HTTP", &[(product.inbound, "product")])
        + &service("nobody", "HTTP", &[]);
    let order = Sidecar::start(ca, "order", (nowhere().await, Http), &documents);
    let dapr = order.dapr();
    (product, order, dapr)
}

async fn ask(dapr: std::net::SocketAddr, line: &str, headers: &str) -> String {
    let request = closing(line, &dapr.to_string(), headers);
    exchange(TcpStream::connect(dapr).await.unwrap(), &request).await
}

#[tokio::test]
async fn over_http() {
    let ca = Ca::new();
    let (_product, _order, dapr) = pair(&ca).await;
    for (line, headers) in [
        ("PUT /v1.0/invoke/product/method/api/a?b=c", ""),
        ("PUT /v1.0/invoke/product.my-app/method//api/a?b=c", ""),
        ("PUT /api/a?b=c", "dapr-app-id: product\r\n"),
    ] {
        let headers = format!("{headers}dapr-api-token: secret\r\nx-mine: 1\r\n");
        let answer = ask(dapr, line, &headers).await;
        assert_eq!(status(&answer), "200", "{line}: {answer}");
        assert!(answer.contains("PUT /api/a?b=c\n"), "{answer}");
        assert!(answer.contains("x-mine: 1\n"), "{answer}");
        assert!(answer.contains("URI=spiffe://cluster.local/ns/my-app/sa/order"));
        assert!(!answer.contains("dapr-a"), "{answer}");
    }
    let healthy = ask(dapr, "GET /v1.0/healthz/outbound", "").await;
    assert_eq!(status(&healthy), "204", "{healthy}");
    let metadata = ask(dapr, "GET /v1.0/metadata", "").await;
    assert!(metadata.contains(r#""id":"order""#), "{metadata}");
}

#[tokio::test]
async fn what_goes_wrong_is_said_as_dapr_says_it() {
    let ca = Ca::new();
    let (_product, _order, dapr) = pair(&ca).await;
    for (line, headers, code, error) in [
        (
            "GET /v1.0/invoke/nobody/method/a",
            "",
            "500",
            "no healthy upstream",
        ),
        (
            "GET /v1.0/invoke/unheard-of/method/a",
            "",
            "500",
            "no service `unheard-of` is declared",
        ),
        (
            "GET /v1.0/invoke/product/method/",
            "",
            "400",
            "no method given",
        ),
        (
            "GET /v1.0/invoke/a:80/method/b",
            "",
            "400",
            "no name of a service",
        ),
        ("GET /v1.0/state/store/key", "", "501", "is not supported"),
        (
            "GET /v1.0/healthz",
            "Sec-Fetch-Site: cross-site\r\n",
            "403",
            "other sites",
        ),
        (
            "POST /v1.0/invoke/product/method/a",
            "Origin: http://evil.test\r\n",
            "403",
            "other sites",
        ),
    ] {
        let answer = ask(dapr, line, headers).await;
        assert_eq!(status(&answer), code, "{line}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).expect(&answer);
        assert!(
            body["errorCode"].as_str().unwrap().starts_with("ERR_"),
            "{body}"
        );
        assert!(body["message"].as_str().unwrap().contains(error), "{body}");
    }
    let asked = closing("GET /v1.0/healthz", "evil.test", "");
    let rebound = exchange(TcpStream::connect(dapr).await.unwrap(), &asked);
    assert_eq!(status(&rebound.await), "403");
}

/// One unary call: the HTTP head, the message if there is one, and the gRPC status with its words.
async fn call(
    dapr: std::net::SocketAddr,
    method: &str,
    message: &[u8],
) -> (
    http::response::Parts,
    Option<InvokeResponse>,
    String,
    String,
) {
    let tcp = TcpStream::connect(dapr).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tcp))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let request = http::Request::post(format!("http://{dapr}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-mine", "1")
        .body(Full::new(Bytes::from(framed)))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap();
    let ends = body.trailers().unwrap_or(&head.headers).clone();
    let said = |name: &str| {
        let value = ends
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let mut bytes = body.to_bytes();
    let message = (bytes.len() > 5).then(|| {
        bytes.advance(5);
        InvokeResponse::decode(bytes).unwrap()
    });
    (head, message, said("grpc-status"), said("grpc-message"))
}

fn invoke(app: &str, method: &str, verb: Verb) -> Vec<u8> {
    InvokeServiceRequest {
        id: app.to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            data: Some(prost_types::Any {
                type_url: String::new(),
                value: b"hello".to_vec(),
            }),
            content_type: "text/plain".to_owned(),
            http_extension: Some(HttpExtension {
                verb: verb.into(),
                querystring: "b=c".to_owned(),
            }),
        }),
    }
    .encode_to_vec()
}

const INVOKE: &str = "dapr.proto.runtime.v1.Dapr/InvokeService";

#[tokio::test]
async fn over_grpc() {
    let ca = Ca::new();
    let (_product, _order, dapr) = pair(&ca).await;
    let (head, message, code, _) = call(dapr, INVOKE, &invoke("product", "api/a", Verb::Put)).await;
    assert_eq!((head.status.as_u16(), &*code), (200, "0"));
    assert_eq!(head.headers["dapr-http-status"], "200");
    let message = message.unwrap();
    let text = String::from_utf8(message.data.unwrap().value).unwrap();
    for part in [
        "PUT /api/a?b=c\n",
        "content-type: text/plain\n",
        "content-length: 5\n",
        "x-mine: 1\n",
        "[hello]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("te: ") && !text.contains("grpc"), "{text}");

    for (method, message, expected, words) in [
        (
            INVOKE,
            invoke("nobody", "a", Verb::Get),
            "14",
            "no healthy upstream",
        ),
        (
            INVOKE,
            invoke("product", "", Verb::Get),
            "3",
            "no method given",
        ),
        (
            INVOKE,
            invoke("a:80", "a", Verb::Get),
            "13",
            "no name of a service",
        ),
        (INVOKE, invoke("product", "a", Verb::Trace), "3", "no calls"),
        (INVOKE, b"\xff\xff".to_vec(), "13", "malformed"),
        (
            "dapr.proto.runtime.v1.Dapr/GetState",
            vec![],
            "12",
            "not supported",
        ),
    ] {
        let (head, message, code, said) = call(dapr, method, &message).await;
        assert_eq!(head.status, 200);
        assert!(message.is_none());
        assert_eq!(code, expected, "{method}: {said}");
        assert!(said.contains(words), "{said}");
    }
}
