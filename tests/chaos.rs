//! The chaos API of `portcullis up`, by curl as people type it and by `portcullis chaos`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::fs;
use std::process::Output;

use laptop::{Laptop, curl, portcullis, stdout, wait};
use serde_json::Value;

/// `host:port` of the chaos API, as `up` says it.
fn api(mesh: &Laptop) -> String {
    let record: Value =
        serde_json::from_slice(&fs::read(mesh.dir().join("mesh.json")).unwrap()).unwrap();
    let at = record["chaos"].as_str().unwrap().to_owned();
    assert!(mesh.printed().contains(&format!("http://{at}/api/chaos")));
    at
}

fn chaos(mesh: &Laptop, verb: &str, args: &[&str]) -> Output {
    let mut command = portcullis();
    let command = command.args(["chaos", verb, "--dir"]).arg(mesh.dir());
    command.args(args).output().unwrap()
}

fn products(mesh: &Laptop) -> u16 {
    mesh.curl("/api/products", &[]).status
}

#[test]
fn curl_and_the_command_fail_services_on_purpose() {
    let mesh = Laptop::start();
    let at = api(&mesh);
    assert_eq!(products(&mesh), 200);

    // As the guides have it: bare `-d`, which sends the Content-Type of a form.
    let error = format!("http://{at}/api/chaos/error");
    let body = r#"{"service": "product-service", "errorRate": 1.0}"#;
    let begun = curl(&error, &["-X", "POST", "-d", body]);
    let begun = begun.json();
    assert_eq!(begun["errorType"], "HTTP_500");
    assert_eq!(begun["durationSeconds"], 300);
    assert_eq!(begun["instances"].as_array().unwrap().len(), 2, "{begun}");
    assert_eq!(products(&mesh), 500);

    let listed = stdout(chaos(&mesh, "ls", &["-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["service"], "product-service");
    let struck = listed[0]["instances"].as_array().unwrap().iter();
    assert!(
        struck
            .map(|one| one["struck"].as_u64().unwrap())
            .sum::<u64>()
            > 0
    );

    // An instance that starts anew has it too.
    let pid = mesh.pids()["product-service-v1-sidecar"];
    laptop::signal(pid, rustix::process::Signal::KILL);
    mesh.wait_for_part("product-service-v1-sidecar", "is back");
    wait("chaos at both instances again", || {
        let listed = stdout(chaos(&mesh, "ls", &["-o", "json"]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        match listed[0]["instances"].as_array().map(Vec::len) {
            Some(2) => Ok(()),
            _ => Err(listed.to_string()),
        }
    });

    let scenarios = format!("http://{at}/api/chaos/scenarios");
    let stopped = curl(&format!("{scenarios}/product-service"), &["-X", "DELETE"]);
    assert_eq!(stopped.status, 200, "{}", stopped.body);
    assert_eq!(products(&mesh), 200);
    assert_eq!(curl(&scenarios, &[]).body.trim(), "[]");

    // What is unknown or wrong is said, with what would be right.
    for (body, status, words) in [
        (
            r#"{"service": "nobody", "errorRate": 1}"#,
            404,
            "product-service",
        ),
        (r#"{"service": "product-service"}"#, 400, "errorRate"),
        (
            r#"{"service": "product-service", "errorRate": 30}"#,
            400,
            "from 0 to 1",
        ),
    ] {
        let refused = curl(&error, &["-d", body]);
        assert_eq!(refused.status, status, "{}", refused.body);
        assert!(refused.body.contains(words), "{}", refused.body);
    }
    // A web page in the operator's browser gets nowhere.
    for headers in [
        ["-H", "Origin: http://evil.test"],
        ["-H", "Host: evil.test"],
    ] {
        let refused = curl(&error, &[&headers[..], &["-d", body]].concat());
        assert_eq!(refused.status, 403, "{}", refused.body);
    }

    let begun = chaos(&mesh, "latency", &["product-service", "--delay", "300ms"]);
    let begun = stdout(begun);
    assert!(begun.contains("300ms for 100 %"), "{begun}");
    let begin = std::time::Instant::now();
    assert_eq!(products(&mesh), 200);
    assert!(begin.elapsed().as_millis() >= 300);
    let stopped = stdout(chaos(&mesh, "stop", &["--all"]));
    assert!(stopped.contains("product-service"), "{stopped}");
    let unknown = chaos(&mesh, "error", &["nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(complaint.contains("services are: "), "{complaint}");

    experiments(&mesh);
}

const EXPERIMENT: &str = "\
name: product-service fails and recovers
steps:
- requests: {path: /api/products, count: 10}
  expect: {successRate: {min: 100%}}
- error: {service: product-service, type: HTTP_503, for: 1m}
- requests: {path: /api/products, count: 20, concurrency: 4}
  expect: {successRate: {max: 0}, statuses: {503: {min: 20}}}
- stop: product-service
- requests: {path: /api/products, count: 10}
  expect: {successRate: {min: 100%}, latency: {p50: 30s}}
";

fn experiments(mesh: &Laptop) {
    let file = mesh.dir().join("logs").join("experiment.yaml");
    let carried_out = |text: &str| {
        fs::write(&file, text).unwrap();
        chaos(mesh, "run", &[file.to_str().unwrap(), "-o", "json"])
    };
    let passed = carried_out(EXPERIMENT);
    let text = String::from_utf8_lossy(&passed.stdout).into_owned();
    assert_eq!(passed.status.code(), Some(0), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["passed"], true);
    assert_eq!(report["steps"][2]["statuses"]["503"], 20);

    // A failed assertion; what the experiment began is over afterwards.
    let failing = "\
name: chaos is no problem
steps:
- error: {service: product-service}
- requests: {path: /api/products, count: 5}
  expect: {successRate: {min: 1}}
";
    let failed = carried_out(failing);
    assert_eq!(failed.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&failed.stdout).unwrap();
    let failure = "success rate is 0 %, expected at least 100 %";
    assert_eq!(report["steps"][1]["failures"][0], failure);
    assert_eq!(products(mesh), 200);
    assert_eq!(carried_out("name: x\nstep: []\n").status.code(), Some(2));
}
