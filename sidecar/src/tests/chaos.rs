//! What callers see while chaos holds at a workload.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::time::Instant;

use dataplane::chaos::{Fault, Scenario, Share};

use super::fixture::*;
use crate::config::AppProtocol::Http;

fn error(error_type: &str) -> Fault {
    Fault::Error {
        rate: Share::ALL,
        error_type: error_type.parse().unwrap(),
    }
}

fn order(sidecar: &Sidecar, faults: &[Fault], remaining_ms: u64) {
    let scenario = |(n, fault): (usize, &Fault)| Scenario {
        id: n.to_string(),
        fault: *fault,
        remaining_ms,
        seed: None,
    };
    let scenarios = faults.iter().enumerate().map(scenario).collect();
    sidecar.proxy.chaos.order(scenarios).unwrap();
}

#[tokio::test]
async fn an_admitted_request_fails_and_a_denied_one_stays_denied() {
    let ca = Ca::new();
    let policies = mtls("STRICT") + ORDER_ONLY;
    let product = Sidecar::start(&ca, "product", (app().await, Http), &policies);
    let (_writer, caller) = ca.material("order");
    let ask = |path: &str| closing(&format!("GET {path}"), "product", "");

    let before = product.ask(&caller, &ask("/api/a")).await;
    assert_eq!(status(&before), "200", "{before}");
    order(&product, &[error("HTTP_503")], 60_000);
    let struck = product.ask(&caller, &ask("/api/a")).await;
    assert_eq!(status(&struck), "503", "{struck}");
    assert!(struck.contains("x-portcullis-chaos: error\r\n"), "{struck}");
    assert!(struck.ends_with("failed by chaos"), "{struck}");
    let denied = product.ask(&caller, &ask("/admin")).await;
    assert_eq!(status(&denied), "403", "{denied}");

    let headers = "content-type: application/grpc\r\n";
    let grpc = closing("POST /api/a", "product", headers);
    let struck = product.ask(&caller, &grpc).await;
    assert!(struck.contains("grpc-status: 14\r\n"), "{struck}");

    product.proxy.chaos.clear();
    let after = product.ask(&caller, &ask("/api/a")).await;
    assert_eq!(status(&after), "200", "{after}");
}

#[tokio::test]
async fn a_reset_is_no_answer_and_an_abort_is_half_of_one() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (app().await, Http), &mtls("PERMISSIVE"));
    let (_writer, caller) = ca.material("order");
    let ask = closing("GET /", "product", "");
    order(&product, &[error("RESET")], 60_000);
    assert_eq!(product.ask(&caller, &ask).await, "");
    order(&product, &[error("ABORT")], 60_000);
    let half = product.ask(&caller, &ask).await;
    assert_eq!(status(&half), "200", "{half}");
    assert!(half.contains("transfer-encoding: chunked\r\n"), "{half}");
    assert!(!half.ends_with("0\r\n\r\n"), "{half}");
    // Over HTTP/2, as another sidecar sees it.
    order(&product, &[error("RESET")], 60_000);
    let entry = service("product", "HTTP", &[(product.inbound, "product")]);
    let calling = Sidecar::start(&ca, "order", (nowhere().await, Http), &entry);
    let answer = calling.call(&ask).await;
    assert!(["502", "503"].contains(&status(&answer)), "{answer}");
}

#[tokio::test]
async fn a_delay_comes_first_and_a_timeout_holds_to_the_end() {
    let ca = Ca::new();
    let product = Sidecar::start(&ca, "product", (app().await, Http), &mtls("PERMISSIVE"));
    let (_writer, caller) = ca.material("order");
    let ask = closing("GET /", "product", "");
    let latency = Fault::Latency {
        delay_ms: 300,
        probability: Share::ALL,
    };
    order(&product, &[latency], 60_000);
    let begun = Instant::now();
    assert_eq!(status(&product.ask(&caller, &ask).await), "200");
    assert!(begun.elapsed().as_millis() >= 300);
    order(&product, &[latency, error("HTTP_500")], 60_000);
    let begun = Instant::now();
    assert_eq!(status(&product.ask(&caller, &ask).await), "500");
    assert!(begun.elapsed().as_millis() >= 300);
    order(&product, &[error("TIMEOUT")], 400);
    assert_eq!(product.ask(&caller, &ask).await, "");
    assert_eq!(status(&product.ask(&caller, &ask).await), "200");
}
