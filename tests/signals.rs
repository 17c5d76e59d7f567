//! What operators see of a running mesh: health, metrics in the words of Istio, access logs without secrets.

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

use laptop::{Laptop, curl, metric, shared, wait};
use serde_json::Value;

fn mesh() -> Arc<Laptop> {
    static MESH: Mutex<Weak<Laptop>> = Mutex::new(Weak::new());
    shared(&MESH, Laptop::start)
}

/// The line of a part's access log for the request with this path.
fn line_of(mesh: &Laptop, part: &str, path: &str) -> Value {
    wait(&format!("{path} in the access log of {part}"), || {
        let lines = mesh.access_log(part);
        let found = lines.iter().rev().find(|line| line["path"] == path);
        found.cloned().ok_or_else(|| format!("{:#?}", lines.last()))
    })
}

#[test]
fn every_process_tells_its_health_and_its_version() {
    let mesh = mesh();
    let (_, status) = mesh.status();
    for part in status["parts"].as_array().unwrap() {
        let Some(admin) = part["ports"]["admin"].as_str() else {
            continue;
        };
        let get = |path: &str| curl(&format!("http://{admin}{path}"), &[]);
        let ready = get("/healthz/ready");
        assert_eq!(
            (ready.status, ready.json()["ready"].clone()),
            (200, true.into())
        );
        assert_eq!(get("/livez").status, 200);
        assert_eq!(get("/version").json()["version"], env!("CARGO_PKG_VERSION"));
        let metrics = get("/metrics").body;
        for name in [
            "portcullis_build_info{",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(
                metrics.lines().any(|line| line.starts_with(name)),
                "{name}: {part:#}"
            );
        }
        let level = curl(
            &format!("http://{admin}/logging?level=debug"),
            &["-X", "POST"],
        );
        assert_eq!(level.status, 200, "{level:?}");
        let level = curl(
            &format!("http://{admin}/logging?level=info"),
            &["-X", "POST"],
        );
        assert_eq!(level.status, 200, "{level:?}");
        assert_eq!(get("/nonsense").status, 404);
    }
    for sidecar in ["order-service-sidecar", "product-service-v1-sidecar"] {
        let probe = mesh.ports(sidecar)["probe"];
        assert_eq!(
            curl(&format!("http://{probe}/healthz/ready"), &[]).status,
            200
        );
    }
}

/// What Kiali and Istio's dashboards ask for; a series without one of these is left out there.
const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_cluster",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

#[test]
fn both_ends_report_in_istios_words() {
    let mesh = mesh();
    assert_eq!(mesh.curl("/api/orders", &[]).status, 200);
    let gateway = mesh.ports("gateway")["admin"];
    let order = mesh.ports("order-service-sidecar")["admin"];
    let reports = [
        (gateway, "source", "order-service", "unknown"),
        (order, "destination", "order-service", "mutual_tls"),
        (order, "source", "product-service", "unknown"),
    ];
    for (admin, reporter, service, security) in reports {
        let of = [
            format!("reporter=\"{reporter}\""),
            format!("destination_service=\"{service}.my-app.svc.cluster.local\""),
            format!("destination_service_name=\"{service}\""),
            "destination_service_namespace=\"my-app\"".to_owned(),
            format!("connection_security_policy=\"{security}\""),
            "response_code=\"200\"".to_owned(),
            "response_flags=\"-\"".to_owned(),
            "request_protocol=\"http\"".to_owned(),
        ];
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        for name in [
            "istio_requests_total",
            "istio_request_duration_milliseconds_count",
            "istio_request_duration_milliseconds_bucket",
            "istio_request_bytes_sum",
            "istio_response_bytes_count",
        ] {
            let series = wait(&format!("{name} of {of:?}"), || series(admin, name, &of));
            for label in LABELS {
                assert!(series.contains(&format!("{label}=\"")), "{label}: {series}");
            }
        }
    }
    let principals = [
        r#"source_principal="spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway""#,
        r#"destination_principal="spiffe://cluster.local/ns/my-app/sa/order-service""#,
    ];
    for admin in [gateway, order] {
        assert!(metric(admin, "istio_requests_total", &principals) >= 1.0);
    }
}

fn series(admin: SocketAddr, name: &str, labels: &[&str]) -> Result<String, String> {
    let text = curl(&format!("http://{admin}/metrics"), &[]).body;
    let found = text.lines().find(|line| {
        line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
    });
    found.map(str::to_owned).ok_or_else(|| {
        let near: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("istio_requests_total"))
            .collect();
        near.join("\n")
    })
}

#[test]
fn the_access_log_says_who_asked_and_which_rule_decided() {
    let mesh = mesh();
    assert_eq!(
        mesh.curl("/api/products/1?who", &["-H", "x-canary: true"])
            .status,
        200
    );
    let line = line_of(&mesh, "product-service-v2-sidecar", "/api/products/1?who");
    assert_eq!(
        line["policy"], "ns[my-app]-policy[product-service-policy]-rule[0]",
        "{line:#}"
    );
    assert_eq!(
        line["source_principal"],
        "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
    );
    assert_eq!(
        (&line["response_code"], &line["response_flags"]),
        (&200.into(), &"-".into())
    );
    let edge = line_of(&mesh, "gateway", "/api/products/1?who");
    assert_eq!(edge["route_name"], "products-canary", "{edge:#}");
    assert_eq!(
        edge["upstream_cluster"],
        "outbound|80|v2|product-service.my-app.svc.cluster.local"
    );
    assert_eq!(edge["request_id"], line["request_id"]);
    assert!(
        edge["start_time"].as_str().unwrap().ends_with('Z'),
        "{edge:#}"
    );

    let denied = mesh.curl(
        "/api/products/1?no",
        &["-X", "DELETE", "-H", "x-canary: true"],
    );
    assert_eq!(
        (denied.status, denied.body.as_str()),
        (403, "RBAC: access denied")
    );
    let line = line_of(&mesh, "product-service-v2-sidecar", "/api/products/1?no");
    assert_eq!(line["response_flags"], "PD", "{line:#}");
    assert_eq!(
        line["response_code_details"],
        "rbac_access_denied_matched_policy[none]"
    );
    let decision = line["decision_id"].as_str().expect("a decision");
    assert!(
        denied
            .head
            .to_lowercase()
            .contains(&format!("x-portcullis-decision: {decision}")),
        "{denied:?}"
    );
    let nowhere = mesh.curl("/nowhere?to", &[]);
    assert_eq!(nowhere.status, 404);
    assert_eq!(
        line_of(&mesh, "gateway", "/nowhere?to")["response_flags"],
        "NR"
    );
}

#[test]
fn no_secret_gets_into_a_log() {
    let mesh = mesh();
    let secret = "s3cr3t-t0k3n";
    let paths = [
        format!("/api/products?access_token={secret}&page=1"),
        format!("/api/products?page=2&id_token={secret}"),
        format!("/api/orders?access_token={secret}"),
        format!("/nowhere?access_token={secret}&page=3"),
    ];
    for (_, admin) in mesh.proxies() {
        curl(
            &format!("http://{admin}/logging?level=debug"),
            &["-X", "POST"],
        );
    }
    for path in &paths {
        let header = format!("authorization: Bearer {secret}");
        mesh.curl(
            path,
            &["-H", &header, "-H", &format!("cookie: session={secret}")],
        );
    }
    wait("the last request in the log", || {
        let lines = mesh.access_log("gateway");
        let text = |line: &&Value| {
            line["path"]
                .as_str()
                .is_some_and(|path| path.contains("page=3"))
        };
        lines
            .iter()
            .find(text)
            .map(drop)
            .ok_or_else(|| format!("{:#?}", lines.last()))
    });
    for (_, admin) in mesh.proxies() {
        curl(
            &format!("http://{admin}/logging?level=info"),
            &["-X", "POST"],
        );
    }
    for log in std::fs::read_dir(mesh.dir().join("logs")).unwrap() {
        let log = log.unwrap().path();
        let text = std::fs::read_to_string(&log).unwrap();
        let leak = text.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{}", log.display());
    }
}
