//! What the process file changes about requests: audit mode, the path that goes on; and whose word about a client counts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use dataplane::Access;
use dataplane::config::{AuthorizationMode, ForwardedPath};

use super::fixture::*;
use crate::config::AppProtocol::Http;

#[tokio::test]
async fn the_audit_mode_lets_denials_pass_but_not_plaintext() {
    let ca = Ca::new();
    let (_writer, stranger) = ca.material("stranger");
    let audit = Access {
        mode: AuthorizationMode::Audit,
        ..Access::default()
    };
    for (access, expected) in [(audit, "200"), (Access::default(), "403")] {
        let documents = mtls("STRICT") + ORDER_ONLY;
        let settings = (access, ForwardedPath::Canonical);
        let app = (app().await, Http);
        let product = Sidecar::start_with(&ca, "product", app, &documents, settings);
        let answer = product.ask(&stranger, &closing("GET /x", "p", "")).await;
        assert_eq!(status(&answer), expected, "{answer}");
        let plain = tokio::net::TcpStream::connect(product.inbound)
            .await
            .unwrap();
        assert_eq!(exchange(plain, &closing("GET /x", "p", "")).await, "");
    }
}

#[tokio::test]
async fn the_original_path_goes_on_where_that_is_wanted() {
    let ca = Ca::new();
    let (_writer, order) = ca.material("order");
    for (forward, sent, expected) in [
        (
            ForwardedPath::Canonical,
            "/x/../api/%61%2F?q=%2e",
            "/api/a%2F?q=%2e",
        ),
        (
            ForwardedPath::Original,
            "/x/../api/%61%2F?q=%2e",
            "/x/../api/%61%2F?q=%2e",
        ),
        (ForwardedPath::Original, "/api/a", "/api/a"),
        (
            ForwardedPath::Original,
            "http://p/api/../api/a?b",
            "/api/../api/a?b",
        ),
        // Judged in the canonical form, whatever would go on.
        (ForwardedPath::Original, "/api/../admin", "403"),
        (ForwardedPath::Original, "/api/%2e%2e/admin", "403"),
    ] {
        let documents = mtls("STRICT") + ORDER_ONLY;
        let settings = (Access::default(), forward);
        let app = (app().await, Http);
        let product = Sidecar::start_with(&ca, "product", app, &documents, settings);
        let answer = product
            .ask(&order, &closing(&format!("GET {sent}"), "p", ""))
            .await;
        if expected == "403" {
            assert_eq!(status(&answer), "403", "{sent}: {answer}");
        } else {
            assert!(
                answer.contains(&format!("GET {expected}\n")),
                "{sent}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn an_application_sends_its_path_as_it_is_where_that_is_wanted() {
    let ca = Ca::new();
    for (forward, expected) in [
        (ForwardedPath::Canonical, "GET /b/c?d\n"),
        (ForwardedPath::Original, "GET /a/../b/%63?d\n"),
    ] {
        let settings = || (Access::default(), forward);
        let app = (app().await, Http);
        let product = Sidecar::start_with(&ca, "product", app, &mtls("STRICT"), settings());
        let documents = service("product", "HTTP", &[(product.inbound, "product")]);
        let order = Sidecar::start_with(&ca, "order", app, &documents, settings());
        let answer = order
            .call(&closing("GET /a/../b/%63?d", "product", ""))
            .await;
        assert!(answer.contains(expected), "{answer}");
    }
}

/// Whoever comes from 203.0.113.9 may not.
const NOT_FROM_THERE: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: not-from-there, namespace: my-app}
spec:
  action: DENY
  rules:
  - from: [{source: {remoteIpBlocks: [203.0.113.9/32]}}]
---
";

#[tokio::test]
async fn only_a_gateway_is_believed_about_its_client() {
    let ca = Ca::new();
    let documents = mtls("STRICT") + NOT_FROM_THERE;
    let product = Sidecar::start(&ca, "product", (app().await, Http), &documents);
    let (_writer, order) = ca.material("order");
    let (_writer, gateway) = ca.material("gateway");
    for (who, headers, expected) in [
        (&gateway, "x-forwarded-for: 203.0.113.9\r\n", "403"),
        (&gateway, "x-forwarded-for: 203.0.113.9, 1.1.1.1\r\n", "200"),
        (
            &gateway,
            "x-forwarded-for: 203.0.113.9, 1.1.1.1\r\nx-envoy-external-address: 203.0.113.9\r\n",
            "403",
        ),
        (&order, "x-forwarded-for: 203.0.113.9\r\n", "200"),
        (&order, "x-envoy-external-address: 203.0.113.9\r\n", "200"),
    ] {
        let answer = product.ask(who, &closing("GET /", "p", headers)).await;
        assert_eq!(status(&answer), expected, "{headers}: {answer}");
    }
}
