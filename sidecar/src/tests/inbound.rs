//! What the inbound port lets in, tells the application, and refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fixture::*;
use crate::config::AppProtocol::Http;

async fn product(ca: &Ca, mode: &str) -> Sidecar {
    let documents = mtls(mode) + ORDER_ONLY;
    Sidecar::start(ca, "product", (app().await, Http), &documents)
}

#[tokio::test]
async fn the_application_learns_who_asks_from_the_certificate_only() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let forged = "x-forwarded-client-cert: By=x;URI=spiffe://cluster.local/ns/my-app/sa/admin\r\nx-request-id: abc\r\n";
    let answer = product
        .ask(
            &order,
            &closing("GET /api/a?b=c", "product-service", forged),
        )
        .await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("GET /api/a?b=c\n"), "{answer}");
    assert!(answer.contains("host: product-service\n"), "{answer}");
    assert!(answer.contains("x-request-id: abc\n"), "{answer}");
    assert!(answer.contains("traceparent: 00-"), "{answer}");
    let xfcc = answer
        .lines()
        .find(|line| line.starts_with("x-forwarded-client-cert: "))
        .unwrap();
    assert!(
        xfcc.starts_with(
            "x-forwarded-client-cert: By=spiffe://cluster.local/ns/my-app/sa/product;Hash="
        ),
        "{xfcc}"
    );
    assert!(
        xfcc.ends_with(";Subject=\"\";URI=spiffe://cluster.local/ns/my-app/sa/order"),
        "{xfcc}"
    );

    // A gateway is believed what it says about its own client.
    let (_writer, gateway) = ca.material("gateway");
    let answer = product
        .ask(
            &gateway,
            &closing("GET /api/a", "p", "x-forwarded-client-cert: URI=x\r\n"),
        )
        .await;
    assert!(
        answer.contains("x-forwarded-client-cert: URI=x,By=spiffe://"),
        "{answer}"
    );
}

#[tokio::test]
async fn denials_look_like_istios_and_carry_their_number() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let (_writer, stranger) = ca.material("stranger");
    for (who, line) in [
        (&stranger, "GET /api/a"),
        (&order, "GET /admin"),
        // Judged in the form in which it would be forwarded.
        (&order, "GET /api/../admin"),
        (&order, "GET /api/%2e%2e/admin"),
    ] {
        let answer = product.ask(who, &closing(line, "p", "")).await;
        assert_eq!(status(&answer), "403", "{line}: {answer}");
        assert!(answer.ends_with("\r\n\r\nRBAC: access denied"), "{answer}");
        assert!(answer.contains("content-length: 19\r\n"), "{answer}");
        assert!(answer.contains("x-portcullis-decision: "), "{answer}");
    }
    let grpc = closing(
        "POST /x.Y/Z",
        "p",
        "content-type: application/grpc\r\ncontent-length: 0\r\n",
    );
    let answer = product.ask(&stranger, &grpc).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("grpc-status: 7\r\n"), "{answer}");
}

#[tokio::test]
async fn the_meshs_own_normalization_and_aliases_are_in_force() {
    const MESH: &str = "
---
apiVersion: portcullis.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec:
  pathNormalization: {normalization: MERGE_SLASHES}
  trustDomainAliases: [old.example]
";
    let ca = Ca::new();
    let (_writer, order) = ca.material("order");
    let of_old = ORDER_ONLY.replace("cluster.local/", "old.example/");
    assert_ne!(of_old, ORDER_ONLY);
    for (documents, expected) in [
        (mtls("STRICT") + ORDER_ONLY, "403"),
        (mtls("STRICT") + ORDER_ONLY + MESH, "200"),
        (mtls("STRICT") + &of_old + MESH, "200"),
    ] {
        let product = Sidecar::start(&ca, "product", (app().await, Http), &documents);
        let answer = product.ask(&order, &closing("GET //api/a", "p", "")).await;
        assert_eq!(status(&answer), expected, "{answer}");
    }
}

#[tokio::test]
async fn strict_closes_plaintext_without_a_word() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let plain = TcpStream::connect(product.inbound).await.unwrap();
    assert_eq!(
        exchange(plain, &closing("GET /api/a", "p", "")).await,
        "",
        "closed without a word"
    );
}

#[tokio::test]
async fn permissive_and_disable() {
    let ca = Ca::new();
    let (_writer, order) = ca.material("order");
    for (mode, tls) in [("PERMISSIVE", true), ("DISABLE", false)] {
        let documents = mtls(mode);
        let product = Sidecar::start(&ca, "product", (app().await, Http), &documents);
        let plain = TcpStream::connect(product.inbound).await.unwrap();
        let forged = "x-forwarded-client-cert: URI=x\r\nx-envoy-internal: true\r\n";
        let answer = exchange(plain, &closing("GET /a", "p", forged)).await;
        assert_eq!(status(&answer), "200", "{mode}: {answer}");
        assert!(!answer.contains("x-forwarded-client-cert"), "{answer}");
        assert!(!answer.contains("x-envoy-internal"), "{answer}");
        assert_eq!(
            product.dial(&order, &[b"http/1.1"]).await.is_ok(),
            tls,
            "{mode}"
        );
    }
}

#[tokio::test]
async fn malformed_requests_reach_nobody() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    for request in [
        "GET /api/a HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /api/a HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),
        closing("GET /api/%00", "p", ""),
        closing("POST /api/a", "p", "transfer-encoding: gzip\r\n"),
        closing("GET /api/a", "u@p", ""),
    ] {
        let answer = product.ask(&order, &request).await;
        assert_eq!(status(&answer), "400", "{request}: {answer}");
    }
    let answer = product
        .ask(&order, &closing("CONNECT p:80", "p:80", ""))
        .await;
    assert_eq!(status(&answer), "405", "{answer}");
}

#[tokio::test]
async fn old_and_bodiless_http() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let answer = product
        .ask(&order, "GET /api/a HTTP/1.0\r\nHost: p\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(!answer.contains("transfer-encoding"), "{answer}");
    let head = product.ask(&order, &closing("HEAD /api/a", "p", "")).await;
    assert!(
        head.contains("content-length: ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let gone = product
        .ask(&order, &closing("GET /api/../empty", "p", ""))
        .await;
    assert_eq!(status(&gone), "403");

    let mut tls = product.dial(&order, &[b"http/1.1"]).await.unwrap();
    let expecting = closing(
        "POST /api/a",
        "p",
        "expect: 100-continue\r\ncontent-length: 5\r\n",
    );
    tls.write_all(expecting.as_bytes()).await.unwrap();
    assert!(
        until(&mut tls, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 100 ")
    );
    let answer = exchange(tls, "hello").await;
    assert!(
        answer.contains("[hello]") && !answer.contains("expect:"),
        "{answer}"
    );
    // Nobody is asked for a body that is refused anyway.
    let refused = product
        .ask(
            &order,
            &closing(
                "POST /admin",
                "p",
                "expect: 100-continue\r\ncontent-length: 5\r\n",
            ),
        )
        .await;
    assert_eq!(status(&refused), "403", "{refused}");
}

#[tokio::test]
async fn a_connection_does_not_outlive_trust() {
    let ca = Ca::new();
    let mut product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let mut tls = product.dial(&order, &[b"http/1.1"]).await.unwrap();
    let request = "GET /api/a HTTP/1.1\r\nHost: p\r\n\r\n";
    tls.write_all(request.as_bytes()).await.unwrap();
    assert!(until(&mut tls, "[]\n").await.starts_with("HTTP/1.1 200"));
    product
        .writer
        .publish_bundle(std::sync::Arc::clone(&Ca::new().bundle))
        .unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let answer = until(&mut tls, "no longer trusted").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn an_application_that_is_down_is_a_503() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (nowhere().await, Http), &mtls("STRICT"));
    let (_writer, order) = ca.material("order");
    let answer = product.ask(&order, &closing("GET /", "p", "")).await;
    assert_eq!(status(&answer), "503", "{answer}");
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (app().await, Http), &mtls("STRICT"));
    let (_writer, order) = ca.material("order");
    let mut busy = product.dial(&order, &[b"http/1.1"]).await.unwrap();
    let mut idle = product.dial(&order, &[b"http/1.1"]).await.unwrap();
    let request = "GET /slow HTTP/1.1\r\nHost: p\r\n\r\n";
    busy.write_all(request.as_bytes()).await.unwrap();
    idle.write_all(request.replace("slow", "fast").as_bytes())
        .await
        .unwrap();
    until(&mut idle, "[]\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    product.life.begin_drain();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, idle.read_to_end(&mut rest)).await;
    assert!(
        ended.is_ok() && rest.is_empty(),
        "the idle connection is closed"
    );
    let answer = until(&mut busy, "[]\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(
        product.life.drained().await,
        runtime::lifecycle::Drained::Clean
    );
    assert!(
        TcpStream::connect(product.inbound).await.is_err(),
        "the listener is closed"
    );
}

#[tokio::test]
async fn a_crawling_head_is_cut() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let mut tls = product.dial(&order, &[b"http/1.1"]).await.unwrap();
    tls.write_all(b"GET /api/a HTTP/1.1\r\nHo").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), tls.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty());
    let silent = TcpStream::connect(product.inbound).await.unwrap();
    assert_eq!(exchange(silent, "").await, "");
}

#[tokio::test]
async fn plaintext_ends_when_mtls_becomes_strict() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (app().await, Http), &mtls("PERMISSIVE"));
    let mut plain = TcpStream::connect(product.inbound).await.unwrap();
    plain
        .write_all(b"GET /api/a HTTP/1.1\r\nHost: p\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&until(&mut plain, "[]").await), "200");
    let strict = policies::source::SourceFile::new("test.yaml", mtls("STRICT"));
    assert!(product.proxy.store.apply(Ok(vec![strict].into())));
    let answer = exchange(plain, "GET /api/a HTTP/1.1\r\nHost: p\r\n\r\n").await;
    assert_eq!(status(&answer), "403", "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("mTLS is required"), "{answer}");
}

/// Whoever says that it is an internal caller may.
const INTERNAL_ONLY: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: internal-only, namespace: my-app}
spec:
  rules:
  - when: [{key: 'request.headers[x-tenant]', values: [acme]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin-host, namespace: my-app}
spec:
  action: DENY
  rules:
  - to: [{operation: {hosts: [admin.example.com]}}]
---
";

#[tokio::test]
async fn what_is_judged_is_what_the_application_gets() {
    let ca = Ca::new();
    let documents = mtls("STRICT") + INTERNAL_ONLY;
    let product = Sidecar::start(&ca, "product", (app().await, Http), &documents);
    let (_writer, order) = ca.material("order");
    let ask = async |host: &str, headers: &str| {
        let request = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        product.ask(&order, &request).await
    };
    let close = "Connection: close\r\n";
    let answer = ask("p", &format!("x-tenant: acme\r\n{close}")).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("x-tenant: acme\n"), "{answer}");
    // Seen by the rule, taken away from the application.
    let answer = ask("p", "x-tenant: acme\r\nConnection: close, x-tenant\r\n").await;
    assert_eq!(status(&answer), "403", "{answer}");
    // The same host, spelled with the root's dot.
    for host in [
        "admin.example.com",
        "admin.example.com.",
        "ADMIN.example.com",
    ] {
        let answer = ask(host, &format!("x-tenant: acme\r\n{close}")).await;
        assert_eq!(status(&answer), "403", "{host}: {answer}");
    }
    let answer = ask("b.example.com.:80", &format!("x-tenant: acme\r\n{close}")).await;
    assert!(answer.contains("host: b.example.com:80\n"), "{answer}");
    // One name to an application that reads `_` as `-`.
    let forged = "x_forwarded_client_cert: URI=spiffe://cluster.local/ns/a/sa/b\r\nx_tenant: a\r\n";
    let answer = ask("p", &format!("x-tenant: acme\r\n{forged}{close}")).await;
    assert!(!answer.contains("x_forwarded_client_cert"), "{answer}");
    assert!(answer.contains("x_tenant: a\n"), "{answer}");
    for length in ["2, 2", "00000000000000000002"] {
        let answer = ask(
            "p",
            &format!("x-tenant: acme\r\n{close}content-length: {length}\r\n"),
        )
        .await;
        assert_eq!(status(&answer), "400", "{length}: {answer}");
    }
}

#[tokio::test]
async fn a_denied_head_has_no_body_on_http2() {
    let ca = Ca::new();
    let product = product(&ca, "STRICT").await;
    let (_writer, order) = ca.material("order");
    let io = product.dial(&order, &[b"h2"]).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(executor, hyper_util::rt::TokioIo::new(io))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::head("https://p/admin")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.headers()["content-length"], "19");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    assert!(body.unwrap().to_bytes().is_empty());
}
