//! How the application's requests find their way, and what it is told when they do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use super::fixture::*;
use crate::config::AppProtocol::Http;

/// `product` serves, `order` calls it by the given further documents.
async fn pair(ca: &Ca, accounts: &[&str], more: &str) -> (Sidecar, Sidecar) {
    let product = Sidecar::start(ca, "product", (app().await, Http), &mtls("STRICT"));
    let endpoints: Vec<_> = accounts
        .iter()
        .map(|account| (product.inbound, *account))
        .collect();
    let documents = service("product", "HTTP", &endpoints) + &service("nobody", "HTTP", &[]) + more;
    let order = Sidecar::start(ca, "order", (nowhere().await, Http), &documents);
    (product, order)
}

#[tokio::test]
async fn by_host_and_as_a_proxy() {
    let ca = Ca::new();
    let (_product, order) = pair(&ca, &["product"], "").await;
    for (line, host) in [
        ("GET /a", "product"),
        ("GET /a", "Product.my-app"),
        ("GET /a", "product.my-app.svc.cluster.local:80"),
        // The target of a proxy request wins over Host.
        ("GET http://product/a", "elsewhere"),
        ("GET http://product.my-app.svc/a", "product"),
    ] {
        let answer = order.call(&closing(line, host, "")).await;
        assert_eq!(status(&answer), "200", "{line} {host}: {answer}");
        assert!(answer.contains("GET /a\n"), "{answer}");
        assert!(
            answer.contains("URI=spiffe://cluster.local/ns/my-app/sa/order"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn hop_by_hop_headers_end_here() {
    let ca = Ca::new();
    let (_product, order) = pair(&ca, &["product"], "").await;
    let headers = "Connection: close, x-secret, authorization\r\nx-secret: 1\r\nauthorization: a\r\nproxy-authorization: b\r\n\
                   proxy-connection: keep-alive\r\nkeep-alive: 5\r\nte: trailers\r\nupgrade: h2c\r\n";
    let answer = order
        .call(&format!("GET / HTTP/1.1\r\nHost: product\r\n{headers}\r\n"))
        .await;
    assert_eq!(status(&answer), "200", "{answer}");
    for gone in [
        "x-secret",
        "proxy-authorization",
        "proxy-connection",
        "keep-alive",
        "upgrade",
    ] {
        assert!(!answer.contains(&format!("{gone}: ")), "{gone}: {answer}");
    }
    assert!(answer.contains("authorization: a\n"), "{answer}");
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let ca = Ca::new();
    let (_product, order) = pair(&ca, &["impostor"], "").await;
    for (line, host, code, body) in [
        (
            "GET /",
            "example.com",
            "502",
            "no service `example.com` is declared",
        ),
        ("GET /", "nobody", "503", "no healthy upstream"),
        ("GET /", "product", "502", "upstream connect error"),
        (
            "CONNECT product:80",
            "product:80",
            "405",
            "CONNECT is not supported",
        ),
        ("GET /%00", "product", "400", "NUL"),
    ] {
        let answer = order.call(&closing(line, host, "")).await;
        assert_eq!(status(&answer), code, "{line} {host}: {answer}");
        assert!(answer.contains(body), "{answer}");
    }
}

#[tokio::test]
async fn endpoints_take_turns_and_failed_ones_are_passed_over() {
    let ca = Ca::new();
    let one = Sidecar::start(&ca, "product", (app().await, Http), &mtls("STRICT"));
    let dead = nowhere().await;
    let documents = service(
        "product",
        "HTTP",
        &[(one.inbound, "product"), (dead, "product")],
    );
    let order = Sidecar::start(&ca, "order", (nowhere().await, Http), &documents);
    for _ in 0..4 {
        let answer = order.call(&closing("GET /", "product", "")).await;
        assert_eq!(status(&answer), "200", "{answer}");
    }
}

#[tokio::test]
async fn routes_answer_redirect_and_time_out() {
    let ca = Ca::new();
    let routes = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: product, namespace: my-app}
spec:
  hosts: [product]
  http:
  - match: [{uri: {exact: /old}}]
    redirect: {uri: /new, redirectCode: 308}
  - match: [{uri: {exact: /fixed}}]
    directResponse: {status: 418, body: {string: teapot}}
  - match: [{uri: {prefix: /v1/}}]
    rewrite: {uri: /, authority: inner}
    headers: {request: {set: {x-a: b}}, response: {add: {x-c: d}}}
    route: [{destination: {host: product}}]
  - timeout: 100ms
    route: [{destination: {host: product}}]
";
    let (_product, order) = pair(&ca, &["product"], routes).await;
    let moved = order.call(&closing("GET /old?q", "product", "")).await;
    assert_eq!(status(&moved), "308", "{moved}");
    assert!(
        moved.contains("location: http://product/new?q\r\n"),
        "{moved}"
    );
    let fixed = order.call(&closing("GET /fixed", "product", "")).await;
    assert!(
        status(&fixed) == "418" && fixed.ends_with("teapot"),
        "{fixed}"
    );
    let rewritten = order.call(&closing("GET /v1/x?y=1", "product", "")).await;
    for part in ["GET /x?y=1\n", "host: inner\n", "x-a: b\n", "x-c: d\r\n"] {
        assert!(rewritten.contains(part), "{part}: {rewritten}");
    }
    let late = order.call(&closing("GET /slow", "product", "")).await;
    assert!(
        status(&late) == "504" && late.ends_with("upstream request timeout"),
        "{late}"
    );
}

/// What becomes of calls to hosts that no document declares.
fn config(mode: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: MeshConfig\nmetadata: {{name: mesh}}\n\
         spec: {{outboundTrafficPolicy: {{mode: {mode}}}}}\n"
    )
}

#[tokio::test]
async fn strangers_are_passed_on_where_the_mesh_lets_them() {
    let ca = Ca::new();
    let stranger = app().await;
    let host = format!("localhost:{}", stranger.port());
    let (_product, closed) = pair(&ca, &["product"], &config("REGISTRY_ONLY")).await;
    let answer = closed.call(&closing("GET /a", &host, "")).await;
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(answer.contains("no service `localhost"), "{answer}");

    let (_product, open) = pair(&ca, &["product"], &config("ALLOW_ANY")).await;
    let answer = open.call(&closing("GET /a", &host, "")).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert!(answer.contains("GET /a\n"), "{answer}");
    // By address too, but neither to the sidecar itself nor to another port of a service of the mesh.
    let address = stranger.to_string();
    assert_eq!(
        status(&open.call(&closing("GET /a", &address, "")).await),
        "200"
    );
    let own = open.outbound.to_string();
    assert_eq!(
        status(&open.call(&closing("GET /a", &own, "")).await),
        "503"
    );
    assert_eq!(
        status(&open.call(&closing("GET /a", "product:9", "")).await),
        "502"
    );
}

#[tokio::test]
async fn a_service_out_of_sight_is_no_stranger() {
    let ca = Ca::new();
    let scope = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: my-app}\n\
                 spec: {egress: [{hosts: ['./nobody']}]}\n";
    let more = config("ALLOW_ANY") + scope;
    let (_product, order) = pair(&ca, &["product"], &more).await;
    let answer = order.call(&closing("GET /a", "product", "")).await;
    assert_eq!(status(&answer), "502", "{answer}");
    assert!(
        answer.contains("the service `product.my-app.svc.cluster.local` is not visible to this workload (test.yaml:"),
        "{answer}"
    );
}
