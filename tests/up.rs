//! `portcullis up` from its start to its end: the demo answers, parts are restarted, no process is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::net::TcpListener;

use laptop::{Laptop, curl, signal, stdout, wait, wait_until_none_runs};
use rustix::process::Signal;

#[test]
fn the_demo_answers_and_ctrl_c_leaves_no_process() {
    let mut mesh = Laptop::start();

    let products = mesh.curl("/api/products", &[]);
    assert_eq!(products.status, 200, "{products:?}");
    assert_eq!(products.json()["products"][0]["name"], "Laptop");
    let version = products.json()["version"].as_str().unwrap().to_owned();
    assert!(
        products
            .head
            .contains(&format!("x-service-version: {version}")),
        "{products:?}"
    );

    for _ in 0..10 {
        let canary = mesh.curl("/api/products/1", &["-H", "x-canary: true"]);
        assert_eq!(
            (canary.status, &canary.json()["version"]),
            (200, &"v2".into()),
            "{canary:?}"
        );
    }

    let orders = mesh.curl("/api/orders", &[]);
    assert_eq!(orders.status, 200, "{orders:?}");
    let product = &orders.json()["orders"][0]["product"];
    assert_eq!(product["name"], "Laptop", "{orders:?}");
    assert!(
        ["v1", "v2"].contains(&product["version"].as_str().unwrap()),
        "{orders:?}"
    );

    let denied = mesh.curl("/api/products/1", &["-X", "DELETE"]);
    assert_eq!(
        (denied.status, denied.body.as_str()),
        (403, "RBAC: access denied"),
        "{denied:?}"
    );

    let (well, status) = mesh.status();
    assert!(well, "{status:#}");
    let https = format!(
        "https://{}/api/products",
        status["gateway"]["https"].as_str().unwrap()
    );
    let root = mesh.dir().join("gateway/state/edge-root.pem");
    assert_eq!(
        curl(&https, &["--cacert", root.to_str().unwrap()]).status,
        200
    );
    let order = mesh.curl(
        "/api/orders",
        &["-d", r#"{"productId": "3", "quantity": 2}"#],
    );
    assert_eq!(
        (order.status, &order.json()["total"]),
        (201, &298.0.into()),
        "{order:?}"
    );
    let parts = status["parts"].as_array().unwrap();
    assert_eq!(
        parts.len(),
        23,
        "CA, registry, gateway, ten sidecars, ten services: {status:#}"
    );
    assert!(
        parts
            .iter()
            .all(|part| part["ready"] == true && part["restarts"] == 0)
    );
    let identities: Vec<&str> = parts
        .iter()
        .filter_map(|part| part["status"]["identity"]["spiffeId"].as_str())
        .collect();
    for account in [
        "istio-system/sa/istio-ingressgateway",
        "my-app/sa/product-service",
        "my-app/sa/order-service",
        "my-app/sa/catalog-service",
        "my-app/sa/payment-service",
        "my-app/sa/inventory-service",
        "istio-system/sa/portcullis-registry",
    ] {
        let id = format!("spiffe://cluster.local/ns/{account}");
        assert!(
            identities.contains(&id.as_str()),
            "{id} is not among {identities:?}"
        );
    }
    for path in [
        "/api/catalog/products",
        "/api/payments",
        "/api/inventory/check",
        "/api/inventory/check?product=1&quantity=2",
    ] {
        let answer = mesh.curl(path, &[]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    assert_eq!(orders.json()["payments"][0]["status"], "paid", "{orders:?}");
    let services = mesh.services();
    assert_eq!(services.len(), 5, "{services:#?}");
    for service in &services {
        assert_eq!(service["ready"], 2, "{service:#}");
    }
    let text = stdout(mesh.verb("services").output().unwrap());
    assert!(
        text.contains("product-service.my-app")
            && text.contains("spiffe://cluster.local/ns/my-app/sa/payment-service"),
        "{text}"
    );
    let text = stdout(mesh.verb("status").output().unwrap());
    assert!(
        text.contains("spiffe://cluster.local/ns/my-app/sa/order-service"),
        "{text}"
    );

    let version = stdout(mesh.verb("version").args(["-o", "json"]).output().unwrap());
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    for part in version["parts"].as_array().unwrap() {
        assert_eq!(part["version"], env!("CARGO_PKG_VERSION"), "{part}");
    }

    let second = mesh.verb("up").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.contains(&format!("(pid {})", mesh.pid())), "{words}");

    let pids = mesh.pids();
    assert_eq!(pids.len(), 24);
    signal(mesh.pid(), Signal::INT);
    assert!(mesh.wait_for_end().success(), "{}", mesh.printed());
    wait_until_none_runs(&pids, &mesh.dir());
    assert_eq!(mesh.verb("env").output().unwrap().status.code(), Some(3));
}

#[test]
fn a_sigkill_of_up_leaves_no_process() {
    let mut mesh = Laptop::start();
    let pids = mesh.pids();
    signal(mesh.pid(), Signal::KILL);
    mesh.wait_for_end();
    wait_until_none_runs(&pids, &mesh.dir());
}

/// One of each kind.
const KILLED: [&str; 5] = [
    "product-service-v1-sidecar",
    "order-service",
    "gateway",
    "registry",
    "ca",
];

#[test]
fn a_part_that_dies_is_restarted_and_reported() {
    let mesh = Laptop::start();
    for part in KILLED {
        let before = mesh.pids()[part];
        signal(before, Signal::KILL);
        let back = wait(&format!("{part} to come back"), || {
            let printed = mesh.printed();
            let mut lines = printed
                .lines()
                .filter(|line| line.contains(&format!(" {part} ")));
            // A part that came back before, for whatever reason, said so too.
            lines
                .find(|line| line.contains("is back") && !line.contains(&format!("(pid {before})")))
                .map(str::to_owned)
                .ok_or_else(|| printed.clone())
        });
        let after = mesh.pids()[part];
        assert_ne!(before, after);
        assert!(back.contains(&format!("(pid {after})")), "{back}");
        assert!(
            mesh.printed()
                .contains("was ended by signal 9; starts again")
        );
        wait("the mesh to be well again", || {
            let answer = mesh.curl("/api/orders", &[]);
            if answer.status == 200 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        });
    }
    let (_, status) = mesh.status();
    for part in status["parts"].as_array().unwrap() {
        let name = part["name"].as_str().unwrap();
        let restarts = part["restarts"].as_u64().unwrap();
        let killed = u64::from(KILLED.contains(&name));
        if part["kind"] == "app" {
            // An application is started again, too, when its sidecar found another port at its start.
            assert!(restarts >= killed, "{part:#}");
        } else {
            assert_eq!(restarts, killed, "{part:#}");
        }
    }
}

#[test]
fn a_taken_port_falls_back_to_a_free_one_and_down_purges() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut mesh = Laptop::start_with(&["--http", &port, "--https", "0"]);
    mesh.wait_for(&format!("port {port} is taken"));
    assert!(!mesh.gateway().ends_with(&format!(":{port}")));
    assert_eq!(mesh.curl("/api/products", &[]).status, 200);

    let pids = mesh.pids();
    stdout(mesh.verb("down").arg("--purge").output().unwrap());
    assert!(mesh.wait_for_end().success());
    wait_until_none_runs(&pids, &mesh.dir());
    assert!(!mesh.dir().exists());
}

#[test]
fn edits_take_effect_and_a_bad_one_is_reported() {
    let mesh = Laptop::start();
    let file = mesh.dir().join("policies/demo/virtual-services.yaml");
    let good = fs::read_to_string(&file).unwrap();

    fs::write(
        &file,
        good.replace("weight: 90", "weight: 0")
            .replace("weight: 10", "weight: 100"),
    )
    .unwrap();
    wait("only v2 to answer", || {
        let versions: Vec<_> = (0..8)
            .map(|_| mesh.curl("/api/products", &[]).json()["version"].clone())
            .collect();
        if versions.iter().all(|version| version == "v2") {
            Ok(())
        } else {
            Err(format!("{versions:?}"))
        }
    });

    fs::write(&file, good.replace("subset: v1", "subset: v9")).unwrap();
    wait("the bad edit to be reported", || {
        let (well, status) = mesh.status();
        let shown = status.to_string();
        if !well && shown.contains("v9") {
            Ok(())
        } else {
            Err(shown)
        }
    });
    assert_eq!(
        mesh.curl("/api/products", &[]).json()["version"],
        "v2",
        "the good generation is in force"
    );
    let text = mesh.verb("status").output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("virtual-services.yaml:") && text.contains("refused"),
        "{text}"
    );

    fs::write(&file, &good).unwrap();
    wait("the good edit to be in force", || {
        let (well, status) = mesh.status();
        if well {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
}

#[test]
fn a_stopped_mesh_starts_again_with_its_state() {
    let mut mesh = Laptop::start();
    signal(mesh.pid(), Signal::TERM);
    assert!(mesh.wait_for_end().success());
    let edited = mesh.dir().join("policies/demo/services.yaml");
    let text = fs::read_to_string(&edited).unwrap() + "# an edit\n";
    fs::write(&edited, &text).unwrap();
    let mesh = mesh.again();
    assert_eq!(mesh.curl("/api/products", &[]).status, 200);
    assert_eq!(fs::read_to_string(&edited).unwrap(), text);
}
