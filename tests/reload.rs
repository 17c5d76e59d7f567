//! Edits of the documents of a running mesh: good ones take effect at once, bad ones change nothing, nobody is cut off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use laptop::app::App;
use laptop::load::Hey;
use laptop::workload::Workload;
use laptop::{Laptop, curl, metric, raw, signal, wait};
use rustix::process::Signal;
use serde_json::Value;

const ROUTES: &str = "policies/demo/virtual-services.yaml";
/// How soon a good edit has to be in force.
const SOON: Duration = Duration::from_secs(2);

fn policy(admin: SocketAddr) -> Value {
    curl(&format!("http://{admin}/status"), &[]).json()["policy"].clone()
}

/// Only the destination named here is left in the demo's routes.
fn all_to_v2(text: &str) -> String {
    text.replace("weight: 90", "weight: 0")
        .replace("weight: 10", "weight: 100")
}

fn wait_until_refused(admin: SocketAddr) -> Value {
    wait("the edit to be refused", || {
        let policy = policy(admin);
        if policy["rejected"].is_null() {
            Err(policy.to_string())
        } else {
            Ok(policy)
        }
    })
}

#[test]
fn a_bad_edit_changes_nothing_and_is_told_with_its_line() {
    let mesh = Laptop::start();
    let proxies = mesh.proxies();
    let gateway = mesh.ports("gateway")["admin"];
    let mut good = String::new();
    mesh.edit(ROUTES, |text| {
        good = text;
        all_to_v2(&good)
    });
    wait("only v2 to answer", || {
        let versions: Vec<Value> = (0..10)
            .map(|_| mesh.curl("/api/products", &[]).json()["version"].clone())
            .collect();
        if versions.iter().all(|version| version == "v2") {
            Ok(())
        } else {
            Err(format!("{versions:?}"))
        }
    });
    let before = policy(gateway);

    let bad = good.replacen("subset: v2", "subset: v9", 1);
    let line = bad
        .lines()
        .position(|line| line.contains("subset: v9"))
        .unwrap()
        + 1;
    mesh.edit(ROUTES, |_| bad);
    for (name, admin) in &proxies {
        let refused = wait_until_refused(*admin);
        let found = &refused["rejected"]["diagnostics"][0];
        assert!(
            found["file"].as_str().unwrap().ends_with(ROUTES),
            "{name}: {refused:#}"
        );
        assert_eq!(found["line"], line, "{name}: {refused:#}");
        assert!(
            found["code"].as_str().unwrap().starts_with("PC"),
            "{name}: {refused:#}"
        );
        assert_eq!(
            metric(*admin, "portcullis_policy_rejected", &[]).to_string(),
            "1"
        );
        assert!(metric(*admin, "portcullis_policy_rejected_total", &[]) >= 1.0);
        assert_eq!(
            curl(&format!("http://{admin}/healthz/ready"), &[]).status,
            200,
            "{name} goes on with what it has"
        );
    }
    let during = policy(gateway);
    assert_eq!(during["generation"], before["generation"]);
    assert_eq!(during["loadedAt"], before["loadedAt"]);
    for _ in 0..10 {
        assert_eq!(mesh.curl("/api/products", &[]).json()["version"], "v2");
    }
    let (well, status) = mesh.status();
    assert!(!well, "{status:#}");
    let text = mesh.verb("status").output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let place = format!("virtual-services.yaml:{line}:");
    assert!(text.contains(&place), "{place}: {text}");
    let log = std::fs::read_to_string(mesh.dir().join("logs/gateway.log")).unwrap();
    assert!(log.contains(&place), "{place}: {log}");

    // Not YAML at all, then no file at all, is no better.
    mesh.edit(ROUTES, |_| "spec: [".to_owned());
    wait("the next bad edit to be counted", || {
        let count = metric(gateway, "portcullis_policy_rejected_total", &[]);
        if count >= 2.0 {
            Ok(())
        } else {
            Err(count.to_string())
        }
    });
    assert_eq!(policy(gateway)["generation"], before["generation"]);

    let begun = Instant::now();
    mesh.edit(ROUTES, |_| good.clone());
    wait("the repaired file to be in force", || {
        let now = policy(gateway);
        if now["rejected"].is_null() && now["generation"].as_u64() > before["generation"].as_u64() {
            Ok(())
        } else {
            Err(now.to_string())
        }
    });
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert_eq!(
        metric(gateway, "portcullis_policy_rejected", &[]).to_string(),
        "0"
    );
}

#[test]
fn edits_under_load_fail_no_request_and_close_no_websocket() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(App::start());
    let mesh = Laptop::start();
    let chat = Workload::join(&mesh, "chat", "http", app.address);
    let gateway: SocketAddr = mesh.gateway().parse().unwrap();
    let admin = mesh.ports("gateway")["admin"];
    let mut sockets = [
        raw::websocket(gateway, &chat.host()),
        raw::websocket(chat.outbound, "chat"),
    ];
    let mut load = [
        Hey::start(&format!("http://{gateway}/api/products"), 10, 5, 40),
        Hey::start(&format!("http://{gateway}/api/orders"), 10, 5, 20),
    ];
    let mut good = String::new();
    mesh.edit(ROUTES, |text| {
        good = text;
        good.clone()
    });
    let (mut edits, mut refused) = (0_u64, 0_u64);
    let mut generation = policy(admin)["generation"].as_u64().unwrap();
    while load[0].runs() {
        edits += 1;
        match edits % 3 {
            0 => {
                mesh.edit(ROUTES, |_| good.replace("subset: v1", "subset: v9"));
                wait_until_refused(admin);
                refused += 1;
            }
            odd => {
                mesh.edit(ROUTES, |_| {
                    let text = if odd == 1 {
                        all_to_v2(&good)
                    } else {
                        good.clone()
                    };
                    format!("{text}# edit {edits}\n")
                });
                generation = wait("the edit to be in force", || {
                    let now = policy(admin)["generation"].as_u64().unwrap();
                    if now > generation {
                        Ok(now)
                    } else {
                        Err(now.to_string())
                    }
                });
            }
        }
        for socket in &mut sockets {
            raw::echoes(
                socket,
                format!("still there after edit {edits}?").as_bytes(),
            );
        }
    }
    assert!(refused >= 2, "only {edits} edits in the time");
    for load in load {
        assert!(load.all_well() > 100);
    }
}

#[test]
fn sighup_and_the_operators_port_reload() {
    let mesh = Laptop::start();
    for part in ["gateway", "order-service-sidecar"] {
        let pid = mesh.pids()[part];
        let admin = mesh.ports(part)["admin"];
        let reloads: [(&str, &dyn Fn()); 2] = [
            ("SIGHUP", &|| signal(pid, Signal::HUP)),
            ("POST /reload", &|| {
                let answer = curl(&format!("http://{admin}/reload"), &["-X", "POST"]);
                assert_eq!(answer.status, 202, "{answer:?}");
            }),
        ];
        for (how, reload) in reloads {
            let before = policy(admin)["generation"].as_u64().unwrap();
            reload();
            wait(&format!("{how} to reload {part}"), || {
                let now = policy(admin)["generation"].as_u64().unwrap();
                if now > before {
                    Ok(())
                } else {
                    Err(now.to_string())
                }
            });
        }
        assert_eq!(mesh.pids()[part], pid, "it is the same process");
    }
    assert_eq!(mesh.curl("/api/orders", &[]).status, 200);
}
