//! A few of `policies/examples/` in a real mesh; `authz/tests/examples.rs` holds every one of them to its decisions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{Mesh, MeshSpec, Reply, Transport, Version, WorkloadSpec, get, request, send};
use http::StatusCode;

fn example(path: &str) -> String {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/examples");
    fs::read_to_string(library.join(path)).unwrap()
}

const STOREFRONT: &str = include_str!("../deploy/demo/policies/virtual-services.yaml");

/// The demo's routes at the edge to the services that run here, without those of the mesh.
fn storefront() -> &'static str {
    let edge = STOREFRONT.split("\n---\n").nth(1).unwrap();
    edge.split("    - name: catalog\n").next().unwrap()
}

/// One call of an application through its sidecar.
async fn call(
    mesh: &Mesh,
    caller: &str,
    method: &str,
    service: &str,
    path: &str,
    canary: bool,
) -> Reply {
    let mut request = request(method, service, path);
    if canary {
        request
            .headers_mut()
            .insert("x-canary", "true".parse().unwrap());
    }
    let outbound = mesh.sidecar(caller).outbound();
    send(outbound, &Transport::Plain, Version::Http1, request)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deny_by_default_allow_health_canary_and_redirect() {
    let spec = MeshSpec::new()
        .policy("default-deny.yaml", example("default-deny.yaml"))
        .policy("allow.yaml", example("allow-by-principal.yaml"))
        .policy("health.yaml", example("health-open.yaml"))
        .policy("canary.yaml", example("canary-by-header.yaml"))
        .policy("redirect.yaml", example("https-redirect.yaml"))
        .policy("storefront.yaml", storefront())
        .workload(WorkloadSpec::version("product-service", "v1"))
        .workload(WorkloadSpec::version("product-service", "v2"))
        .workload(WorkloadSpec::new("order-service"))
        .workload(WorkloadSpec::new("billing"))
        .gateway();
    let mesh = Mesh::start(spec).await;

    for (caller, method, service, path, expected) in [
        (
            "order-service",
            "GET",
            "product-service",
            "/api/products/1",
            200,
        ),
        (
            "order-service",
            "DELETE",
            "product-service",
            "/api/products/1",
            403,
        ),
        ("billing", "GET", "product-service", "/api/products/1", 403),
        ("order-service", "GET", "billing", "/", 403),
        ("billing", "GET", "product-service", "/health/ready", 200),
        ("order-service", "GET", "billing", "/health", 200),
        ("order-service", "POST", "billing", "/health", 403),
    ] {
        let reply = call(&mesh, caller, method, service, path, false).await;
        assert_eq!(
            reply.status.as_u16(),
            expected,
            "{caller}: {method} {service}{path}"
        );
    }

    let served = |version: &str| {
        mesh.sidecar(&format!("product-service-{version}"))
            .requests()
    };
    let (v1, v2) = (served("v1"), served("v2"));
    assert_eq!(v2, 0, "without the header everything goes to v1");
    for _ in 0..4 {
        let reply = call(
            &mesh,
            "order-service",
            "GET",
            "product-service",
            "/api/products",
            true,
        )
        .await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!((served("v1"), served("v2")), (v1, 4));

    let edge = mesh.gateway().port("listener:80");
    let reply = send(
        edge,
        &Transport::Plain,
        Version::Http1,
        request("GET", "shop.example", "/api/products?a=b"),
    )
    .await
    .unwrap();
    assert_eq!(
        (reply.status, reply.header("location")),
        (
            StatusCode::MOVED_PERMANENTLY,
            "https://shop.example/api/products?a=b"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_permissive_to_strict_in_three_steps() {
    let spec = MeshSpec::new()
        .policy("default.yaml", example("mtls-migration/1-permissive.yaml"))
        .workload(WorkloadSpec::new("product-service"))
        .workload(WorkloadSpec::new("order-service"));
    let mesh = Mesh::start(spec).await;
    // Which workload answers a caller without a certificate.
    let plaintext = async |app: &str| {
        let reply = get(mesh.sidecar(app).inbound(), &Transport::Plain, "/").await;
        reply.is_ok_and(|reply| reply.status == StatusCode::OK)
    };
    assert!(plaintext("product-service").await && plaintext("order-service").await);

    mesh.write_policy(
        "product.yaml",
        &example("mtls-migration/2-strict-for-one.yaml"),
    )
    .await;
    assert!(!plaintext("product-service").await && plaintext("order-service").await);

    mesh.write_policy("default.yaml", &example("mtls-migration/3-strict.yaml"))
        .await;
    assert!(!plaintext("product-service").await && !plaintext("order-service").await);

    // All the while workloads of the mesh are served.
    let reply = call(&mesh, "order-service", "GET", "product-service", "/", false).await;
    assert_eq!(reply.status, StatusCode::OK);
}
