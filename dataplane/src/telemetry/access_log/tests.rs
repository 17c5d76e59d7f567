//! What a line says, what it never says, and what happens when the writer is behind.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Method, Version};
use identity::SpiffeId;
use prometheus::Registry;
use serde_json::Value;

use super::*;
use crate::telemetry::LogTarget;
use crate::telemetry::ResponseFlags;
use crate::telemetry::line_log::QUEUE;

fn record() -> AccessRecord {
    AccessRecord {
        start: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        method: Method::GET,
        path: "/api/products?access_token=s3cret&page=2".to_owned(),
        protocol: Version::HTTP_11,
        response_code: 403,
        grpc_status: None,
        flags: ResponseFlags::POLICY_DENIED,
        details: "rbac_access_denied_matched_policy[none]".into(),
        upstream_transport_failure_reason: None,
        bytes_received: 0,
        bytes_sent: 19,
        duration: Duration::from_micros(1500),
        upstream_service_time: None,
        x_forwarded_for: Some(HeaderValue::from_static("203.0.113.9")),
        user_agent: Some(HeaderValue::from_bytes(b"evil\"\t\\u{1b}[31m\xff").unwrap()),
        request_id: Some(HeaderValue::from_static("id")),
        authority: Some(HeaderValue::from_static("shop.example")),
        upstream_host: None,
        upstream_cluster: None,
        route_name: None,
        downstream_remote_address: Some("192.0.2.1:5000".parse().unwrap()),
        downstream_local_address: Some("127.0.0.1:8090".parse().unwrap()),
        requested_server_name: Some("shop.example\u{202e}\n".into()),
        source_principal: SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/web").ok(),
        policy: None,
        decision_id: None,
        let_pass: false,
        audit_policy: Some("ns[a]-policy[b]-rule[0]".into()),
        dry_run: Some(Box::new(DryRunNote {
            deny: None,
            allow: Some("denied"),
            allow_policy: None,
        })),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        attempts: 0,
        generation: 3,
    }
}

#[test]
fn a_line_is_one_json_object_with_envoys_names() {
    let mut out = Vec::new();
    AccessLine::from(record()).write_line(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.ends_with('\n'));
    assert!(!text.contains("s3cret"), "{text}");
    assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    for (field, expected) in [
        ("start_time", Value::from("2023-11-14T22:13:20.123Z")),
        ("method", "GET".into()),
        ("path", "/api/products?access_token=***&page=2".into()),
        ("protocol", "HTTP/1.1".into()),
        ("response_code", 403.into()),
        ("response_flags", "PD".into()),
        (
            "response_code_details",
            "rbac_access_denied_matched_policy[none]".into(),
        ),
        ("bytes_sent", 19.into()),
        ("duration", 1.into()),
        ("upstream_host", Value::Null),
        ("downstream_remote_address", "192.0.2.1:5000".into()),
        (
            "source_principal",
            "spiffe://cluster.local/ns/my-app/sa/web".into(),
        ),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c".into()),
        ("let_pass", false.into()),
        ("audit_policy", "ns[a]-policy[b]-rule[0]".into()),
        (
            "dry_run",
            serde_json::json!({"deny": null, "allow": "denied", "allow_policy": null}),
        ),
        ("attempts", 0.into()),
        ("policy_generation", 3.into()),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
    for field in [
        "bytes_received",
        "upstream_service_time",
        "x_forwarded_for",
        "user_agent",
        "request_id",
        "authority",
        "upstream_cluster",
        "route_name",
        "downstream_local_address",
        "requested_server_name",
        "upstream_transport_failure_reason",
        "policy",
        "decision_id",
    ] {
        assert!(line.get(field).is_some(), "{field} is missing");
    }
}

#[test]
fn lines_reach_the_file_in_order_and_it_can_be_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessLog::start(LogTarget::File(path.clone()), &Registry::new()).unwrap();
    let write = |n: u32| {
        log.write(AccessRecord {
            attempts: n,
            ..record()
        });
    };
    (0..1000).for_each(write);
    log.flush(Duration::from_secs(5));
    let attempts = |path: &Path| -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["attempts"].as_u64();
        text.lines().map(|line| of(line).unwrap()).collect()
    };
    assert_eq!(attempts(&path), (0..1000).collect::<Vec<_>>());
    let old = dir.path().join("access.log.1");
    std::fs::rename(&path, &old).unwrap();
    log.reopen();
    write(7);
    log.flush(Duration::from_secs(5));
    assert_eq!(attempts(&path), [7]);
    assert_eq!(attempts(&old).len(), 1000);
}

#[test]
fn a_writer_that_is_behind_costs_lines_not_time() {
    let registry = Registry::new();
    let dir = tempfile::tempdir().unwrap();
    // A pipe that nobody reads: the writer stands still after its buffer is full.
    let path = dir.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    let _reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let log = AccessLog::start(LogTarget::File(path), &registry).unwrap();
    let begun = Instant::now();
    for _ in 0..QUEUE * 3 {
        log.write(record());
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let dropped = log.dropped();
    assert!(dropped > 0);
}

#[test]
fn off_is_off() {
    let log = AccessLog::start(LogTarget::from_path(None), &Registry::new()).unwrap();
    assert!(!log.is_on());
    log.write(record());
    log.flush(Duration::from_secs(1));
    assert_eq!(LogTarget::from_path(Some("-".into())), LogTarget::Stdout);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_start() {
    let error = AccessLog::start(
        LogTarget::File("/nonexistent/access.log".into()),
        &Registry::new(),
    );
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open the access log `/nonexistent/access.log`"
    );
}

#[test]
fn a_connection_has_the_fields_of_a_request_that_it_has() {
    let record = TcpRecord {
        start: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        flags: ResponseFlags::POLICY_DENIED,
        termination: Some("rbac_access_denied_matched_policy[none]".into()),
        upstream_transport_failure_reason: None,
        bytes_received: 3,
        bytes_sent: 4,
        duration: Duration::from_micros(1500),
        upstream_host: Some("127.0.0.1:5432".parse().unwrap()),
        upstream_cluster: None,
        downstream_remote_address: "192.0.2.1:5000".parse().unwrap(),
        downstream_local_address: "127.0.0.1:8090".parse().unwrap(),
        requested_server_name: Some("db.example\u{202e}\n".into()),
        source_principal: SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/web").ok(),
        policy: None,
        decision_id: Some("0af7651916cd43dd".into()),
        let_pass: false,
        audit_policy: None,
        dry_run: None,
        attempts: 1,
        generation: 3,
    };
    let mut out = Vec::new();
    AccessLine::from(record).write_line(&mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.contains('\u{202e}'), "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    for (field, expected) in [
        ("start_time", Value::from("2023-11-14T22:13:20.123Z")),
        ("protocol", "TCP".into()),
        ("response_code", 0.into()),
        ("response_flags", "PD".into()),
        (
            "connection_termination_details",
            "rbac_access_denied_matched_policy[none]".into(),
        ),
        ("bytes_received", 3.into()),
        ("bytes_sent", 4.into()),
        ("duration", 1.into()),
        ("upstream_host", "127.0.0.1:5432".into()),
        (
            "source_principal",
            "spiffe://cluster.local/ns/my-app/sa/web".into(),
        ),
        ("decision_id", "0af7651916cd43dd".into()),
        ("policy", Value::Null),
        ("policy_generation", 3.into()),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
}
