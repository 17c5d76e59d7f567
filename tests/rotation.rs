//! Certificates that last a minute, renewed by force under load: nobody notices.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use laptop::client::Connection;
use laptop::load::Hey;
use laptop::{Laptop, curl, wait};
use serde_json::Value;
use tokio::task::JoinHandle;

/// As long as the certificates live, so that none of the first ones is left at the end.
const SECONDS: u64 = 62;
const BETWEEN_RENEWALS: Duration = Duration::from_secs(4);

fn identity(admin: SocketAddr) -> Value {
    curl(&format!("http://{admin}/status"), &[]).json()["identity"].clone()
}

/// Asks for a new certificate and waits until it is there.
fn renew(name: &str, admin: SocketAddr) -> Value {
    let before = identity(admin);
    let asked = curl(&format!("http://{admin}/identity/renew"), &["-X", "POST"]);
    assert_eq!(asked.status, 202, "{name}: {asked:?}");
    wait(&format!("a new certificate of {name}"), || {
        let now = identity(admin);
        if now["serial"] == before["serial"] {
            Err(now.to_string())
        } else {
            Ok(now)
        }
    })
}

/// One connection that asks and asks, and must stay open.
fn keep_asking(mut connection: Connection, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut answers = 0;
        while !stop.load(Ordering::Relaxed) {
            let answer = connection.get("http://shop.example/api/orders").await;
            let (head, _) = answer.expect("the connection stays open");
            assert_eq!(head.status(), 200);
            answers += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!connection.is_over());
        answers
    })
}

#[test]
fn forced_renewals_under_load_fail_no_request_and_drop_no_connection() {
    let mesh = Laptop::start();
    for entries in ["entries/mesh/gateway.yaml", "entries/demo/services.yaml"] {
        mesh.edit(entries, |text| {
            text.replace("x509SVIDTTL: 1h", "x509SVIDTTL: 60s")
        });
    }
    let proxies = mesh.proxies();
    assert_eq!(proxies.len(), 11);
    for (name, admin) in &proxies {
        wait(&format!("a certificate of a minute for {name}"), || {
            let now = renew(name, *admin);
            let not_after: jiff::Timestamp = now["notAfter"].as_str().unwrap().parse().unwrap();
            let left = not_after.duration_since(jiff::Timestamp::now()).as_secs();
            if left <= 61 {
                Ok(())
            } else {
                Err(now.to_string())
            }
        });
    }

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gateway: SocketAddr = mesh.gateway().parse().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let clients = runtime.block_on(async {
        [
            keep_asking(Connection::http1(gateway).await, Arc::clone(&stop)),
            keep_asking(Connection::http2(gateway).await, Arc::clone(&stop)),
        ]
    });
    // Orders go gateway, sidecar, application, sidecar, sidecar, application.
    let orders = Hey::start(&format!("http://{gateway}/api/orders"), SECONDS, 5, 20);
    let mut products = Hey::start(&format!("http://{gateway}/api/products"), SECONDS, 5, 20);
    let mut rounds = 0_u64;
    while products.runs() {
        let begun = Instant::now();
        for (name, admin) in &proxies {
            renew(name, *admin);
        }
        rounds += 1;
        while products.runs() && begun.elapsed() < BETWEEN_RENEWALS {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    assert!(rounds >= 5, "only {rounds} rounds of renewals");
    assert!(orders.all_well() > SECONDS && products.all_well() > SECONDS);
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        let answers = runtime.block_on(client).expect("no request failed");
        assert!(answers > SECONDS, "{answers}");
    }
    for (name, admin) in &proxies {
        let now = identity(*admin);
        assert_eq!(now["state"], "valid", "{name}: {now:#}");
        assert!(
            now["renewals"].as_u64().unwrap() >= rounds,
            "{name}: {now:#}"
        );
    }
}
