//! Canary releases: weights hold over many requests, and a header chooses, at the gateway and inside the mesh.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};

use laptop::client::{Connection, nothing};
use laptop::{Laptop, shared, stdout};
use serde_json::Value;
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

fn canary(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("canary").args(args).arg("--dir").arg(dir);
    command.output().unwrap()
}

/// In a mesh of its own: the shared one keeps its weights.
#[test]
fn weights_are_set_where_they_stand_and_hold() {
    let mesh = Laptop::start();
    let path = mesh.dir().join("policies/demo/virtual-services.yaml");
    let before = fs::read_to_string(&path).unwrap();
    let told = stdout(canary(&mesh.dir(), &["show", "product-service"]));
    assert!(
        told.contains("my-app/product-service http[1] split"),
        "{told}"
    );
    assert!(
        told.contains("subset v2 (version=v2) at policies/demo/"),
        "{told}"
    );

    let dry = stdout(canary(
        &mesh.dir(),
        &["set", "product-service", "v2=25", "--dry-run"],
    ));
    assert!(dry.contains("+          weight: 25"), "{dry}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    let told = stdout(canary(
        &mesh.dir(),
        &["set", "product-service", "v2=25", "-o", "json"],
    ));
    let told: Value = serde_json::from_str(&told).unwrap();
    let split = told["routes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|route| route["name"] == "split")
        .unwrap();
    assert_eq!(split["destinations"][0]["weight"], 90, "{told:#}");
    assert_eq!(split["destinations"][0]["weightAfter"], 75, "{told:#}");
    for part in told["parts"].as_array().unwrap() {
        assert_eq!(part["state"], "inForce", "{told:#}");
    }
    let after = before
        .replace("weight: 90", "weight: 75")
        .replace("weight: 10\n", "weight: 25\n");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        after,
        "every other byte stays"
    );
    let share = percent_of_v2(
        mesh.gateway().parse().unwrap(),
        "shop.example",
        false,
        4_000,
    );
    assert!((20.0..=30.0).contains(&share), "{share} % went to v2");

    stdout(canary(&mesh.dir(), &["set", "product-service", "v2=100"]));
    let share = percent_of_v2(
        mesh.ports("order-service-sidecar")["outbound"],
        "product-service",
        false,
        800,
    );
    assert!(share > 99.999, "{share} % went to v2, not all");
    stdout(canary(
        &mesh.dir(),
        &["set", "product-service", "v1=90", "v2=10"],
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    for (args, code) in [
        (&["set", "product-service", "v9=25"][..], 2),
        (&["set", "product-service", "v1=50", "v2=25"][..], 2),
        (&["set", "product-service", "v2=125"][..], 2),
        (&["set", "order-service", "v1=50"][..], 2),
        (&["show", "nobody"][..], 2),
    ] {
        let output = canary(&mesh.dir(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn without_a_mesh_there_is_nothing_to_set() {
    let nowhere = tempfile::tempdir().unwrap();
    for args in [
        &["show", "product-service"][..],
        &["set", "product-service", "v2=25"],
    ] {
        let output = canary(nowhere.path(), args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {output:?}");
    }
}
