//! The three scenarios of the seeds' resilience guide, in `portcullis up` with the documents of the demo, by the guide's own
//! `curl` lines; only where the gateway and the chaos API listen is put in their place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use laptop::{Laptop, wait};
use serde_json::Value;

/// What the guide writes to end a scenario, for `payment-service`.
const STOP_PAYMENTS: &str =
    "curl -X DELETE http://localhost:8092/api/chaos/scenarios/payment-service";

/// What a shell prints for lines of the guide.
fn typed(mesh: &Laptop, lines: &str) -> String {
    let record: Value =
        serde_json::from_slice(&fs::read(mesh.dir().join("mesh.json")).unwrap()).unwrap();
    let lines = lines
        .replace("localhost:8092", record["chaos"].as_str().unwrap())
        .replace("localhost:8090", &mesh.gateway());
    let output = Command::new("bash")
        .args(["-c", &lines])
        .env("no_proxy", "*")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{lines}: {told}");
    told
}

/// What the gateway logged about a path, oldest first.
fn logged(mesh: &Laptop, path: &str) -> Vec<Value> {
    let mut log = mesh.access_log("gateway");
    log.retain(|line| line["path"] == path);
    log
}

#[test]
fn the_scenarios_of_the_guide() {
    let mesh = Laptop::start();
    std::thread::scope(|scope| {
        scope.spawn(|| circuit_breaker(&mesh));
        scope.spawn(|| retry(&mesh));
        scope.spawn(|| timeout(&mesh));
    });
}

/// Scenario 1.
fn circuit_breaker(mesh: &Laptop) {
    let injected = typed(
        mesh,
        r#"curl -X POST http://localhost:8092/api/chaos/error \
  -d '{
    "service": "payment-service",
    "errorRate": 1.0
  }'"#,
    );
    let injected: Value = serde_json::from_str(&injected).unwrap();
    assert_eq!(injected["errorType"], "HTTP_500");
    let answers = typed(
        mesh,
        "for i in {1..50}; do
  curl http://localhost:8090/api/orders
done",
    );
    // The breaker of order-service's sidecars opened, so payment-service is left alone and orders fail at once.
    assert!(
        answers.contains("payment-service answered 503 Service Unavailable: no healthy upstream"),
        "{answers}"
    );
    let payments = ["payment-service-1", "payment-service-2"].map(|name| {
        let log = mesh.access_log(&format!("{name}-sidecar"));
        log.iter()
            .filter(|line| line["path"] == "/api/payments")
            .count()
    });
    // Two callers, each with three errors of each instance, and what was under way.
    assert!(payments.iter().sum::<usize>() <= 16, "{payments:?}");

    // The same at the gateway, whose own breaker opens; then its answers take no time.
    for _ in 0..20 {
        mesh.curl("/api/payments", &[]);
    }
    let open: Vec<Value> = wait("the gateway's log", || {
        let mut log = logged(mesh, "/api/payments");
        log.retain(|line| line["response_flags"] == "UH");
        if log.len() < 10 {
            return Err(format!("{log:#?}"));
        }
        Ok(log)
    });
    let opened = Instant::now();
    let mut took: Vec<u64> = open
        .iter()
        .map(|line| line["duration"].as_u64().unwrap())
        .collect();
    took.sort_unstable();
    assert!(took[took.len() / 2] < 5, "{took:?} ms");
    assert!(open.iter().all(|line| line["response_code"] == 503));

    typed(mesh, STOP_PAYMENTS);
    assert_eq!(mesh.curl("/api/payments", &[]).status, 503, "open for now");
    std::thread::sleep(Duration::from_mins(1).saturating_sub(opened.elapsed()));
    for path in ["/api/payments", "/api/orders"] {
        wait("payments are made again", || {
            let answer = mesh.curl(path, &[]);
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        });
    }
    assert!(opened.elapsed() < Duration::from_secs(75));
}

/// Scenario 2.
fn retry(mesh: &Laptop) {
    const ALL: u32 = 400;
    typed(
        mesh,
        r#"curl -X POST http://localhost:8092/api/chaos/error \
  -d '{
    "service": "catalog-service",
    "errorRate": 0.5
  }'"#,
    );
    let line = "curl http://localhost:8090/api/catalog/products";
    let counted = line.replace("curl ", "curl -s -o /dev/null -w '%{http_code}\\n' ");
    let statuses = typed(mesh, &format!("for i in {{1..{ALL}}}; do {counted}; done"));
    let good = statuses.lines().filter(|status| *status == "200").count();
    let good = f64::from(u32::try_from(good).unwrap()) / f64::from(ALL);
    // Five times the standard deviation of so many; tests/resilience.rs counts more and exactly.
    assert!((0.79..=0.96).contains(&good), "{good}");
    let thrice = wait("one that took three tries", || {
        let log = logged(mesh, "/api/catalog/products");
        let mut found = log
            .into_iter()
            .filter(|line| line["attempts"] == 3 && line["response_code"] == 200);
        found.next().ok_or_else(|| "none".to_owned())
    });
    assert_eq!(thrice["response_flags"], "-");
    typed(
        mesh,
        "curl -X DELETE http://localhost:8092/api/chaos/scenarios/catalog-service",
    );
    assert_eq!(mesh.curl("/api/catalog/products", &[]).status, 200);
}

/// Scenario 3.
fn timeout(mesh: &Laptop) {
    typed(
        mesh,
        r#"curl -X POST http://localhost:8092/api/chaos/latency \
  -d '{
    "service": "inventory-service",
    "delayMs": 20000
  }'"#,
    );
    let told = typed(
        mesh,
        "curl -s -w ' %{http_code} %{time_total}' http://localhost:8090/api/inventory/check",
    );
    let (body, timing) = told.split_at("upstream request timeout".len());
    assert_eq!(body, "upstream request timeout");
    let (status, seconds) = timing.trim().split_once(' ').unwrap();
    let seconds: f64 = seconds.parse().unwrap();
    assert_eq!(status, "504");
    assert!((7.9..=8.3).contains(&seconds), "{seconds}");
    typed(
        mesh,
        "curl -X DELETE http://localhost:8092/api/chaos/scenarios/inventory-service",
    );
}
