//! What the process file changes about requests at the edge: audit mode, the path that goes on, trusted proxies,
//! how long bodies may be.

use dataplane::Access;
use dataplane::config::{AuthorizationMode, ForwardedPath};
use dataplane::sizes::SizeLimits;

use super::{TO_ECHO, start, start_with};
use crate::gateway::EdgeRules;

const NO_ADMIN: &str = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: istio-system}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/admin, /admin/*]}}]
";

#[tokio::test]
async fn the_audit_mode_lets_denials_pass() {
    let documents = format!("{TO_ECHO}{NO_ADMIN}");
    let access = Access {
        mode: AuthorizationMode::Audit,
        ..Access::default()
    };
    let running = start_with(&documents, access, EdgeRules::default()).await;
    let passed = running.get("/admin/x", "").await;
    assert_eq!(passed.status, 200);
    assert_eq!(passed.header("x-portcullis-decision"), None);
}

#[tokio::test]
async fn the_original_path_goes_on_only_where_that_is_wanted_and_nothing_is_rewritten() {
    const REWRITTEN: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: ['*']
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/}
    route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}}]
  - route: [{destination: {host: echo.my-app.svc.cluster.local, port: {number: 8080}}}]
";
    let documents = format!("{REWRITTEN}{NO_ADMIN}");
    for (denied, sent, canonical, original) in [
        (
            None,
            "/a/../b%2Fc/%7e?x=%2e",
            "/b%2Fc/~?x=%2e",
            "/a/../b%2Fc/%7e?x=%2e",
        ),
        (None, "/plain?x", "/plain?x", "/plain?x"),
        (None, "/x/../old/%61", "/new/a", "/new/a"),
        // Judged in the canonical form, whatever goes on.
        (Some(403), "/x/../admin/%61", "", ""),
        (Some(403), "/%61dmin", "", ""),
    ] {
        for (forward, expected) in [
            (ForwardedPath::Canonical, canonical),
            (ForwardedPath::Original, original),
        ] {
            let rules = EdgeRules {
                path: forward,
                ..EdgeRules::default()
            };
            let running = start_with(&documents, Access::default(), rules).await;
            let answer = running.get(sent, "").await;
            assert_eq!(answer.status, denied.unwrap_or(200), "{sent}");
            if denied.is_none() {
                assert_eq!(
                    answer.received("target"),
                    Some(expected),
                    "{forward:?} {sent}"
                );
            }
        }
    }
}

/// Whoever comes from 203.0.113.9 may not.
const NOT_FROM_THERE: &str = "
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: edge, namespace: istio-system}
spec:
  action: DENY
  rules:
  - from: [{source: {remoteIpBlocks: [203.0.113.9]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: never-by-header, namespace: istio-system}
spec:
  action: DENY
  rules:
  - from: [{source: {ipBlocks: [203.0.113.0/24, 198.51.100.0/24]}}]
";

#[tokio::test]
async fn x_forwarded_for_counts_as_far_as_proxies_in_front_are_trusted() {
    let documents = format!("{TO_ECHO}{NOT_FROM_THERE}");
    for (trusted, forwarded, status, client) in [
        (0, "203.0.113.9", 200, "127.0.0.1"),
        (1, "203.0.113.9", 403, ""),
        (1, "203.0.113.9, 198.51.100.7", 200, "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7", 403, ""),
        (2, "1.1.1.1, 203.0.113.9, 198.51.100.7", 403, ""),
        // Fewer entries than proxies, or no address: the peer.
        (2, "203.0.113.9", 200, "127.0.0.1"),
        (1, "nobody", 200, "127.0.0.1"),
    ] {
        let rules = EdgeRules {
            trusted_proxies: trusted,
            ..EdgeRules::default()
        };
        let running = start_with(&documents, Access::default(), rules).await;
        let forged = "x-envoy-external-address: 9.9.9.9\r\n";
        let headers = format!("x-forwarded-for: {forwarded}\r\n{forged}");
        let answer = running.get("/", &headers).await;
        assert_eq!(answer.status, status, "{trusted}: {forwarded}");
        if status == 200 {
            assert_eq!(answer.received("x-envoy-external-address"), Some(client));
            let onward = format!("{forwarded},127.0.0.1");
            assert_eq!(answer.received("x-forwarded-for"), Some(&*onward));
        }
    }
    let running = start(&documents).await;
    assert_eq!(running.get("/", "").await.status, 200);
}

#[tokio::test]
async fn bodies_are_as_long_as_they_may_be() {
    for (request_bytes, response_bytes, status) in [
        (None, None, 200),
        (Some(5), None, 200),
        (Some(4), None, 413),
        (None, Some(1), 502),
        (Some(5), Some(1_000_000), 200),
    ] {
        let rules = EdgeRules {
            sizes: SizeLimits {
                request_bytes,
                response_bytes,
            },
            ..EdgeRules::default()
        };
        let running = start_with(TO_ECHO, Access::default(), rules).await;
        let post = "POST /upload HTTP/1.1\r\nhost: a.example.com\r\n";
        for body in [
            "content-length: 5\r\n\r\nhello",
            "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ] {
            let answer = running.raw(&format!("{post}{body}")).await;
            assert_eq!(
                answer.status, status,
                "{request_bytes:?} {response_bytes:?} {body:?}"
            );
        }
    }
}
