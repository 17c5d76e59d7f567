//! Canary releases: weights hold over many requests, and a header chooses, at the gateway and inside the mesh.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use laptop::client::{Connection, nothing};
use laptop::{Laptop, shared};
use tokio::task::JoinSet;

const REQUESTS: usize = 10_000;
const CONNECTIONS: usize = 8;

/// The part of `REQUESTS` that v2 answered, in percent.
fn percent_of_v2(address: SocketAddr, host: &'static str, canary: bool, requests: usize) -> f64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let v2 = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for number in 0..CONNECTIONS {
            clients.spawn(async move {
                // Half of them speak HTTP/2.
                let mut connection = if number % 2 == 0 {
                    Connection::http1(address).await
                } else {
                    Connection::http2(address).await
                };
                let mut v2 = 0;
                for _ in 0..requests / CONNECTIONS {
                    let request =
                        connection.request("GET", &format!("http://{host}/api/products/1"));
                    let request = if canary {
                        request.header("x-canary", "true")
                    } else {
                        request
                    };
                    let answer = connection
                        .send(request.body(nothing()).unwrap())
                        .await
                        .unwrap();
                    assert_eq!(answer.status(), 200);
                    v2 += usize::from(answer.headers()["x-service-version"] == "v2");
                    http_body_util::BodyExt::collect(answer.into_body())
                        .await
                        .unwrap();
                }
                v2
            });
        }
        clients.join_all().await.into_iter().sum::<usize>()
    });
    f64::from(u32::try_from(v2).unwrap()) * 100.0 / f64::from(u32::try_from(requests).unwrap())
}

fn mesh() -> Arc<Laptop> {
    static MESH: Mutex<Weak<Laptop>> = Mutex::new(Weak::new());
    shared(&MESH, Laptop::start)
}

fn holds(address: SocketAddr, host: &'static str) {
    let split = percent_of_v2(address, host, false, REQUESTS);
    assert!(
        (8.0..=12.0).contains(&split),
        "{split} % of the requests went to v2, not 10 %"
    );
    let canary = percent_of_v2(address, host, true, 800);
    assert!(
        canary > 99.999,
        "{canary} % of the canary requests went to v2, not all"
    );
}

#[test]
fn the_gateway_splits_by_weight_and_by_header() {
    let mesh = mesh();
    holds(mesh.gateway().parse().unwrap(), "shop.example");
}

#[test]
fn a_sidecar_splits_by_weight_and_by_header() {
    let mesh = mesh();
    holds(
        mesh.ports("order-service-sidecar")["outbound"],
        "product-service",
    );
}
