//! Retries and outlier ejection beside a real Envoy: the same applications, the same requests, the same counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::format_push_string,
    unreachable_pub,
    dead_code,
    missing_docs,
    missing_debug_implementations,
    reason = "a failed test is a panic"
)]

#[path = "resilience/doors.rs"]
mod doors;
#[path = "resilience/faulty.rs"]
mod faulty;
mod harness;
#[path = "ext_authz/processes.rs"]
mod processes;

use bytes::Bytes;
use doors::{Client, Door};
use faulty::Faulty;
use harness::{Mesh, MeshSpec};
use http::Request;
use http_body_util::Full;
use processes::{Envoy, envoy};

/// `retryOn`, what Envoy calls it, and the statuses that Envoy has in a list of their own.
const CONDITIONS: &[(&str, &str, &str)] = &[
    ("5xx", "5xx", ""),
    ("gateway-error", "gateway-error", ""),
    ("reset", "reset", ""),
    ("connect-failure", "connect-failure", ""),
    ("retriable-4xx", "retriable-4xx", ""),
    (
        "retriable-status-codes,418",
        "retriable-status-codes",
        "418",
    ),
    ("503", "retriable-status-codes", "503"),
    (
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "",
    ),
];

const PATHS: &[&str] = &[
    "/status/200",
    "/status/404",
    "/status/409",
    "/status/418",
    "/status/429",
    "/status/500",
    "/status/501",
    "/status/502",
    "/status/503",
    "/status/504",
    "/reset",
];

/// The tries of a request: the first, and `attempts` more.
const ATTEMPTS: usize = 2;

fn service(name: &str, ports: &[u16]) -> String {
    let endpoints: Vec<_> = ports
        .iter()
        .map(|port| format!("{{address: 127.0.0.1, ports: {{http: {port}}}}}"))
        .collect();
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: my-app}}\n\
         spec:\n  \
           hosts: [{name}.example]\n  \
           ports: [{{number: 80, name: http, protocol: HTTP}}]\n  \
           location: MESH_EXTERNAL\n  \
           resolution: STATIC\n  \
           endpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn breaker(name: &str, detection: &str) -> String {
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: DestinationRule\n\
         metadata: {{name: {name}, namespace: my-app}}\n\
         spec:\n  \
           host: {name}.example\n  \
           trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {{{detection}, baseEjectionTime: 300s, interval: 300s}}}}\n"
    )
}

fn rule(case: &str, host: &str, retries: &str) -> String {
    format!(
        "    - match: [{{headers: {{x-case: {{exact: {case}}}}}}}]\n      \
           route: [{{destination: {{host: {host}.example}}}}]\n      \
           retries: {{{retries}}}\n"
    )
}

/// What a client and the applications saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    tries: usize,
}

async fn ask(door: Door, case: &str, path: &str) -> u16 {
    let request = Request::get(path)
        .header("host", "compared.example")
        .header("x-case", case);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    Client::to(door).await.send(request).await.status
}

fn tries(apps: &[Faulty], path: &str) -> usize {
    apps.iter().map(|app| app.arrivals(path).len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_and_our_gateway_do_the_same() {
    let Some(program) = envoy() else { return };
    let mut apps = Vec::new();
    for seed in 0..4 {
        apps.push(Faulty::start(seed).await);
    }
    let ports: Vec<u16> = apps.iter().map(|app| app.address.port()).collect();
    let mut documents = include_str!("resilience/policies/edge.yaml").to_owned();
    documents += &service("app", &ports);
    // A connection that breaks when it is used again is tried anew here, and is not with Envoy: so none is.
    documents += "---\n\
        apiVersion: networking.istio.io/v1\n\
        kind: DestinationRule\n\
        metadata: {name: app, namespace: my-app}\n\
        spec: {host: app.example, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}\n";
    let mut rules = String::new();
    let mut routes = String::new();
    for (number, (ours, theirs, statuses)) in CONDITIONS.iter().enumerate() {
        let case = format!("retry-{number}");
        rules += &rule(
            &case,
            "app",
            &format!("attempts: {ATTEMPTS}, retryOn: \"{ours}\", backoff: 1ms"),
        );
        routes += &format!(
            "              - match: {{prefix: /, headers: [{{name: x-case, string_match: {{exact: {case}}}}}]}}\n                \
               route: {{cluster: app, retry_policy: {{retry_on: \"{theirs}\", num_retries: {ATTEMPTS}, \
               retriable_status_codes: [{statuses}], retry_back_off: {{base_interval: 0.001s, max_interval: 0.010s}}}}}}\n"
        );
    }
    for (name, detection) in [
        ("half", "consecutive5xxErrors: 3, maxEjectionPercent: 50"),
        ("quarter", "consecutive5xxErrors: 3, maxEjectionPercent: 25"),
        (
            "gateway",
            "consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, maxEjectionPercent: 100",
        ),
    ] {
        documents += &service(name, &ports);
        documents += &breaker(name, detection);
        rules += &rule(&format!("outlier-{name}"), name, "attempts: 0");
    }
    documents += "---\n\
        apiVersion: networking.istio.io/v1\n\
        kind: VirtualService\n\
        metadata: {name: compared, namespace: my-app}\n\
        spec:\n  \
          hosts: [compared.example]\n  \
          gateways: [edge]\n  \
          http:\n";
    documents += &rules;

    let mesh = Mesh::start(MeshSpec::new().gateway().policy("ours.yaml", documents)).await;
    let endpoints: Vec<_> = ports
        .iter()
        .map(|port| {
            format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}")
        })
        .collect();
    let endpoints = endpoints.join(", ");
    let directory = tempfile::tempdir().unwrap();
    let names = [
        ("ROUTES", routes.trim_end().to_owned()),
        ("APP", endpoints.clone()),
        ("HALF", endpoints.clone()),
        ("QUARTER", endpoints.clone()),
        ("GATEWAY", endpoints),
    ];
    let template = include_str!("envoy_resilience/envoy.yaml");
    let envoy = Envoy::start(&program, directory.path(), template, &names).await;
    let theirs = Door {
        name: "Envoy",
        address: envoy.listener("door").await,
    };
    let ours = Door {
        name: "gateway",
        address: mesh.gateway().port("listener:80"),
    };

    for (number, (condition, ..)) in CONDITIONS.iter().enumerate() {
        for path in PATHS {
            let mut seen = Vec::new();
            for door in [theirs, ours] {
                let before = tries(&apps, path);
                let status = ask(door, &format!("retry-{number}"), path).await;
                let tries = tries(&apps, path) - before;
                // A connection that breaks is 503 with Envoy and 502 here; the number of tries must be the same.
                let status = if *path == "/reset" { 0 } else { status };
                seen.push(Seen { status, tries });
            }
            assert_eq!(
                seen[0], seen[1],
                "Envoy and we about `{condition}` and {path}"
            );
        }
    }

    // Ejections: one, then two of four applications fail; each door sees its own ones.
    for (case, bad) in [
        ("outlier-half", 1),
        ("outlier-quarter", 2),
        ("outlier-gateway", 1),
    ] {
        let mut counts = Vec::new();
        for door in [theirs, ours] {
            for app in apps.iter().take(bad) {
                app.broken(true);
            }
            let path = format!("/{case}/{}", door.name);
            let mut failed = 0;
            for _ in 0..80 {
                failed += usize::from(ask(door, case, &path).await >= 500);
            }
            for app in &apps {
                app.broken(false);
            }
            let of_bad: usize = tries(&apps[..bad], &path);
            assert_eq!(failed, of_bad, "every error came from an application");
            counts.push(failed);
        }
        // Whose turn it is when the last of eighty requests comes depends on where a door began.
        let allowed = usize::from(case == "outlier-quarter");
        assert!(
            counts[0].abs_diff(counts[1]) <= allowed,
            "errors with Envoy and with us, `{case}`: {counts:?}"
        );
    }
}
