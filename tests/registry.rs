//! The registry of workloads, with real processes: who starts is found, who dies vanishes, and nobody misses it for a while.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use laptop::app::App;
use laptop::{Laptop, curl, signal, wait};
use rustix::process::Signal;
use serde_json::Value;

/// A program of the mesh that only keeps its place; its service is what listens at `app`.
fn run(mesh: &Laptop, name: &str, app: &App) -> Child {
    let port = app.address.port().to_string();
    mesh.verb("run")
        .args(["-q", "--name", name, "--port", &port, "--", "sleep", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn service(mesh: &Laptop, name: &str) -> Option<Value> {
    let mut services = mesh.services().into_iter();
    services.find(|service| service["service"] == name)
}

/// Whether the gateway's policies in force know that instance in that state.
fn at_the_gateway(mesh: &Laptop, name: &str, state: &str) -> Result<(), String> {
    let admin = mesh.ports("gateway")["admin"];
    let page = curl(&format!("http://{admin}/registry"), &[]).json();
    let instances = page["instances"].as_array().unwrap();
    let found = instances.iter().find(|instance| instance["name"] == name);
    match found {
        Some(instance) if instance["state"] == state && page["inForce"] == true => Ok(()),
        other => Err(format!("{other:?}, in force: {}", page["inForce"])),
    }
}

#[test]
fn who_starts_is_found_and_who_is_killed_vanishes() {
    let mesh = Laptop::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(App::start());
    let mut billing = run(&mesh, "billing", &app);
    wait("billing at the gateway", || {
        at_the_gateway(&mesh, "billing", "ready")
    });
    let outbound = mesh.ports("order-service-sidecar")["outbound"];
    wait("an answer of billing", || {
        let answer = curl(&format!("http://{outbound}/204"), &["-H", "host: billing"]);
        if answer.status == 204 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    let known = service(&mesh, "billing").unwrap();
    assert_eq!(known["ready"], 1, "{known:#}");
    assert_eq!(
        known["instances"][0]["spiffeId"],
        "spiffe://cluster.local/ns/my-app/sa/billing"
    );

    let begun = Instant::now();
    billing.kill().unwrap();
    billing.wait().unwrap();
    wait("billing to be gone", || {
        at_the_gateway(&mesh, "billing", "gone")
    });
    let took = begun.elapsed();
    eprintln!("a killed workload was out of the gateway's endpoints after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // The service stays declared: nobody is told that there is no such service.
    let answer = curl(&format!("http://{outbound}/204"), &["-H", "host: billing"]);
    assert_eq!(answer.status, 503, "{answer:?}");
}

#[test]
fn the_mesh_goes_on_without_its_registry() {
    let mesh = Laptop::start();
    let before = mesh.pids()["registry"];
    signal(before, Signal::KILL);
    for _ in 0..20 {
        assert_eq!(mesh.curl("/api/catalog/products", &[]).status, 200);
    }
    wait("the registry to be back, with everybody", || {
        if mesh.pids().get("registry").is_none_or(|pid| *pid == before) {
            return Err("it is not back".to_owned());
        }
        let output = mesh.verb("services").args(["-o", "json"]).output().unwrap();
        let services: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let ready = services.as_array().into_iter().flatten();
        let ready = ready.filter(|service| service["ready"] == 2).count();
        if ready == 5 {
            Ok(())
        } else {
            Err(format!("{services:#}"))
        }
    });
    for _ in 0..20 {
        assert_eq!(mesh.curl("/api/catalog/products", &[]).status, 200);
    }
}
