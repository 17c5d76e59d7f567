//! Who may call what, proved through real sidecars: the seed's AuthorizationPolicy, verbatim, in a mesh of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod harness;

use std::fs;

use harness::{
    Mesh, MeshSpec, Reply, Transport, Version, WorkloadSpec, eventually, get, request, send,
};
use http::StatusCode;

/// The documents of the service-mesh pattern page, as they stand there.
const SEED_AUTHORIZATION: &str = include_str!("corpus/seeds/002-authorization-policy.yaml");
const SEED_PEER_AUTHENTICATION: &str = include_str!("corpus/seeds/002-peer-authentication.yaml");

fn seed_mesh() -> MeshSpec {
    MeshSpec::new()
        .policy("authorization.yaml", SEED_AUTHORIZATION)
        .policy("peer-authentication.yaml", SEED_PEER_AUTHENTICATION)
        .workload(WorkloadSpec::new("product-service"))
        .workload(WorkloadSpec::new("order-service"))
        .workload(WorkloadSpec::new("billing"))
}

/// One call of an application through its sidecar.
async fn call(mesh: &Mesh, caller: &str, method: &str, path: &str) -> Reply {
    let outbound = mesh.sidecar(caller).outbound();
    let request = request(method, "product-service", path);
    send(outbound, &Transport::Plain, Version::Http1, request)
        .await
        .unwrap()
}

#[track_caller]
fn assert_denied(reply: &Reply, what: &str) {
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (StatusCode::FORBIDDEN, "RBAC: access denied"),
        "{what}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_policy_between_sidecars() {
    let mesh = Mesh::start(seed_mesh()).await;
    let mut served = 0;
    for (caller, method, path, expected) in [
        ("order-service", "GET", "/api/products/1", StatusCode::OK),
        ("order-service", "POST", "/api/products/1", StatusCode::OK),
        (
            "order-service",
            "DELETE",
            "/api/products/1",
            StatusCode::FORBIDDEN,
        ),
        (
            "order-service",
            "GET",
            "/api/products",
            StatusCode::FORBIDDEN,
        ),
        ("order-service", "GET", "/", StatusCode::FORBIDDEN),
        ("billing", "GET", "/api/products/1", StatusCode::FORBIDDEN),
        ("billing", "POST", "/api/products/1", StatusCode::FORBIDDEN),
        ("billing", "GET", "/health/x", StatusCode::OK),
        ("billing", "POST", "/health/x", StatusCode::FORBIDDEN),
        // What is judged is what is forwarded.
        (
            "billing",
            "GET",
            "/health/../api/products/1",
            StatusCode::FORBIDDEN,
        ),
        (
            "billing",
            "GET",
            "/health/%2e%2e/api/products/1",
            StatusCode::FORBIDDEN,
        ),
        (
            "billing",
            "GET",
            "/health/x/..%5c..%5c..%5capi/products/1",
            StatusCode::OK,
        ),
        (
            "order-service",
            "GET",
            "/x/../api/products/%31",
            StatusCode::OK,
        ),
        (
            "order-service",
            "GET",
            "/api/products/1?x=/../..",
            StatusCode::OK,
        ),
        (
            "order-service",
            "GET",
            "/api/products/..%00",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let reply = call(&mesh, caller, method, path).await;
        assert_eq!(
            reply.status,
            expected,
            "{caller} {method} {path}: {}",
            reply.text()
        );
        if expected == StatusCode::OK {
            served += 1;
            let seen = reply.json();
            assert_eq!(seen["app"], "product-service");
            let path = seen["path"].as_str().unwrap().split('?').next().unwrap();
            assert!(!path.contains("/../"), "{seen}");
        } else if expected == StatusCode::FORBIDDEN {
            assert_denied(&reply, path);
        }
        assert_eq!(
            mesh.sidecar("product-service").requests(),
            served,
            "{caller} {method} {path}"
        );
    }
    let canonical = call(
        &mesh,
        "order-service",
        "GET",
        "/x/../api/products/%31?q=%2e%2e",
    )
    .await;
    assert_eq!(canonical.json()["path"], "/api/products/1?q=%2e%2e");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_policy_for_a_peer_without_a_sidecar() {
    let mesh = Mesh::start(seed_mesh()).await;
    let product = mesh.sidecar("product-service");
    let order = mesh.identity("my-app", "order-service").await;
    let stranger = mesh.identity("elsewhere", "order-service").await;
    for version in [Version::Http1, Version::Http2] {
        for (identity, method, path, expected) in [
            (&order, "GET", "/api/products/1", StatusCode::OK),
            (&order, "DELETE", "/api/products/1", StatusCode::FORBIDDEN),
            (&stranger, "GET", "/api/products/1", StatusCode::FORBIDDEN),
            (&stranger, "GET", "/health/x", StatusCode::OK),
        ] {
            let request = request(method, "product-service", path);
            let reply = send(
                product.inbound(),
                &identity.tls(&[&product.id]),
                version,
                request,
            )
            .await
            .unwrap();
            assert_eq!(
                reply.status, expected,
                "{} {method} {path} {version:?}",
                identity.id
            );
        }
    }
    let denied = || async {
        let log = product.process.log();
        let found = log.contains("rbac_access_denied_matched_policy[none]");
        (found && log.contains("spiffe://cluster.local/ns/elsewhere/sa/order-service"))
            .then_some(())
    };
    eventually("the access log tells who was denied", denied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_grpc_call_gets_a_grpc_status() {
    let mesh = Mesh::start(seed_mesh()).await;
    let product = mesh.sidecar("product-service");
    let stranger = mesh.identity("elsewhere", "stranger").await;
    let mut call = request("POST", "product-service", "/shop.Catalogue/List");
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    call.headers_mut().insert("te", "trailers".parse().unwrap());
    let reply = send(
        product.inbound(),
        &stranger.tls(&[&product.id]),
        Version::Http2,
        call,
    )
    .await
    .unwrap();
    assert_eq!(
        (reply.status, reply.header("grpc-status")),
        (StatusCode::OK, "7")
    );
    assert_eq!(reply.header("grpc-message"), "RBAC: access denied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_edit_bites_at_the_next_request() {
    let mesh = Mesh::start(seed_mesh()).await;
    assert_eq!(
        call(&mesh, "order-service", "GET", "/api/products/1")
            .await
            .status,
        StatusCode::OK
    );
    let deny = "apiVersion: security.istio.io/v1\n\
                kind: AuthorizationPolicy\n\
                metadata: {name: freeze, namespace: istio-system}\n\
                spec: {action: DENY, rules: [{to: [{operation: {paths: [\"/api/products/{*}\"]}}]}]}\n";
    mesh.write_policy("freeze.yaml", deny).await;
    assert_denied(
        &call(&mesh, "order-service", "GET", "/api/products/1").await,
        "after the edit",
    );
    assert_eq!(
        call(&mesh, "order-service", "GET", "/health/x")
            .await
            .status,
        StatusCode::OK
    );

    let log = || async {
        let log = mesh.sidecar("product-service").process.log();
        log.contains("rbac_access_denied_matched_policy[ns[istio-system]-policy[freeze]-rule[0]]")
            .then_some(())
    };
    eventually("the access log names the rule", log).await;

    mesh.write_policy("freeze.yaml", "# thawed\n").await;
    assert_eq!(
        call(&mesh, "order-service", "GET", "/api/products/1")
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_cannot_be_honoured_keeps_the_last_good_generation() {
    let mesh = Mesh::start(seed_mesh()).await;
    let metadata = "apiVersion: security.istio.io/v1\n\
                    kind: AuthorizationPolicy\n\
                    metadata: {name: metadata, namespace: my-app}\n\
                    spec: {rules: [{when: [{key: experimental.envoy.x, values: [z]}]}]}\n";
    fs::write(mesh.path().join("policies/metadata.yaml"), metadata).unwrap();
    let product = mesh.sidecar("product-service");
    product.process.post("/reload").await;
    let rejected = eventually("the edit is rejected", || async {
        let rejected = product.process.status().await["policy"]["rejected"].clone();
        (!rejected.is_null()).then_some(rejected)
    })
    .await;
    let finding = &rejected["diagnostics"][0];
    assert_eq!(finding["code"], "PC0403", "{rejected:#}");
    assert!(
        finding["file"].as_str().unwrap().ends_with("metadata.yaml"),
        "{rejected:#}"
    );
    assert_eq!(
        call(&mesh, "order-service", "GET", "/api/products/1")
            .await
            .status,
        StatusCode::OK
    );
    assert_denied(
        &call(&mesh, "billing", "GET", "/api/products/1").await,
        "the last good generation",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_port_is_not_in_the_mesh() {
    let mesh = Mesh::start(seed_mesh()).await;
    let probe = mesh.sidecar("product-service").process.port("probe");
    let reply = get(probe, &Transport::Plain, "/healthz/ready")
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::OK);
}

/// A front door for everything that `product-service` serves.
const FRONT_DOOR: &str = r#"apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: my-app}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front, namespace: my-app}
spec:
  hosts: ["*"]
  gateways: [front]
  http:
    - route:
        - destination: {host: product-service}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_is_a_principal_like_any_other() {
    let mesh = Mesh::start(seed_mesh().policy("front.yaml", FRONT_DOOR).gateway()).await;
    let front = mesh.gateway().port("listener:80");
    let health = get(front, &Transport::Plain, "/health/x").await.unwrap();
    assert_eq!(health.status, StatusCode::OK, "{}", health.text());
    let xfcc = &health.json()["headers"]["x-forwarded-client-cert"][0];
    assert!(
        xfcc.as_str()
            .unwrap()
            .contains("URI=spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway")
    );

    // The seed's policy admits the order service only; saying so in a header does not help.
    let mut forged = request("GET", "shop.example", "/api/products/1");
    let claim = "By=spiffe://x;URI=spiffe://cluster.local/ns/my-app/sa/order-service";
    forged
        .headers_mut()
        .insert("x-forwarded-client-cert", claim.parse().unwrap());
    let reply = send(front, &Transport::Plain, Version::Http1, forged)
        .await
        .unwrap();
    assert_denied(&reply, "through the gateway");
    assert_eq!(mesh.sidecar("product-service").requests(), 1);
}
