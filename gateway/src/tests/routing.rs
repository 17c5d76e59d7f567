//! Routes: canary and weights, redirects, fixed answers, rewrites, header changes, deadlines.

use std::time::{Duration, Instant};

use super::{TO_ECHO, start};

const ROUTES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes}
spec:
  hosts: [a.example.com]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new, redirectCode: 308}
  - match: [{uri: {exact: /teapot}}]
    directResponse: {status: 418, body: {string: short and stout}}
  - match: [{uri: {prefix: /api/}}]
    rewrite: {uri: /, authority: inner.example.com}
    headers:
      request: {set: {x-set: one}, add: {x-add: two}, remove: [x-remove]}
      response: {set: {x-answer: three}}
    route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}}]
  - match: [{uri: {prefix: /slow}}, {uri: {prefix: /drip}}]
    timeout: 0.3s
    route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}}]
  - match: [{uri: {prefix: /nobody}}]
    route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 9999}}}]
  - match: [{headers: {x-canary: {exact: 'true'}}}]
    route:
    - destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}
      headers: {response: {set: {x-version: canary}}}
  - route:
    - destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}
      weight: 80
      headers: {response: {set: {x-version: v1}}}
    - destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}
      weight: 20
      headers: {response: {set: {x-version: v2}}}
";

#[tokio::test]
async fn a_host_without_route_is_404() {
    let running = start(ROUTES).await;
    let answer = running
        .raw("GET / HTTP/1.1\r\nhost: b.example.com\r\n\r\n")
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("server"), Some("portcullis"));
}

#[tokio::test]
async fn redirects_and_fixed_answers_need_no_upstream() {
    let running = start(ROUTES).await;
    let redirect = running.get("/old?x=1", "").await;
    assert_eq!(redirect.status, 308, "{redirect:?}");
    assert_eq!(
        redirect.header("location"),
        Some("http://a.example.com/new?x=1")
    );
    let teapot = running.get("/teapot", "").await;
    assert_eq!((teapot.status, &*teapot.body), (418, "short and stout"));
}

#[tokio::test]
async fn rewrites_and_header_changes_are_applied() {
    let running = start(ROUTES).await;
    let answer = running
        .get("/api/products/1?q=2", "x-remove: x\r\nx-set: mine\r\n")
        .await;
    assert_eq!(
        answer.received("target"),
        Some("/products/1?q=2"),
        "{answer:?}"
    );
    assert_eq!(answer.received("host"), Some("inner.example.com"));
    assert_eq!(answer.received("x-set"), Some("one"));
    assert_eq!(answer.received("x-add"), Some("two"));
    assert_eq!(answer.received("x-remove"), None);
    assert_eq!(answer.header("x-answer"), Some("three"));
}

#[tokio::test]
async fn the_deadline_is_504_before_the_head_and_a_cut_after_it() {
    let running = start(ROUTES).await;
    let started = Instant::now();
    let slow = running.get("/slow", "").await;
    assert_eq!(
        (slow.status, &*slow.body),
        (504, "upstream request timeout")
    );
    assert!(
        started.elapsed() < Duration::from_millis(550),
        "{:?}",
        started.elapsed()
    );
    let started = Instant::now();
    let drip = running.get("/drip", "").await;
    assert_eq!(drip.status, 200);
    assert!(
        !drip.body.ends_with("0\r\n\r\n"),
        "a cut response must not look complete"
    );
    assert!(
        started.elapsed() < Duration::from_millis(550),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_upstream_that_nobody_serves_is_503() {
    let running = start(ROUTES).await;
    let answer = running.get("/nobody", "").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let grpc = running
        .get("/nobody", "content-type: application/grpc\r\n")
        .await;
    assert_eq!(grpc.status, 200, "{grpc:?}");
    assert_eq!(grpc.header("grpc-status"), Some("14"));
}

#[tokio::test]
async fn the_canary_header_wins_and_weights_split_the_rest() {
    let running = start(ROUTES).await;
    for _ in 0..20 {
        let canary = running.get("/", "x-canary: true\r\n").await;
        assert_eq!(canary.header("x-version"), Some("canary"));
    }
    let mut v2 = 0;
    for _ in 0..400 {
        if running.get("/", "").await.header("x-version") == Some("v2") {
            v2 += 1;
        }
    }
    assert!((45..=120).contains(&v2), "{v2} of 400, expected about 80");
}

#[tokio::test]
async fn metrics_have_istios_names() {
    let running = start(TO_ECHO).await;
    assert_eq!(running.get("/", "").await.status, 200);
    assert_eq!(running.raw("GET / HTTP/1.1\r\n\r\n").await.status, 400);
    // The observation follows the response's last byte.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&running.registry.gather())
        .unwrap();
    let line = text
        .lines()
        .find(|line| {
            line.starts_with("istio_requests_total{") && line.contains("response_code=\"200\"")
        })
        .expect("a counter of the request");
    for label in [
        "reporter=\"source\"",
        "source_workload=\"istio-ingressgateway\"",
        "destination_service=\"echo.my-app.svc.cluster.local\"",
        "destination_app=\"echo\"",
        "request_protocol=\"http\"",
    ] {
        assert!(line.contains(label), "{label} in {line}");
    }
    assert!(
        text.contains("response_code=\"400\""),
        "refused requests count too"
    );
}
