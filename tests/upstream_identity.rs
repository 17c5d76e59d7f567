//! An endpoint that is not who its document says: the gateway refuses to speak to it, and tells why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::time::{Duration, Instant};

use laptop::app::App;
use laptop::workload::Workload;
use laptop::{Laptop, metric, wait};

/// A change of a document is in force about a second later; this leaves room for a busy machine.
const SOON: Duration = Duration::from_secs(4);

#[test]
fn a_wrong_identity_is_answered_with_502_until_the_document_is_right() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = runtime.block_on(App::start());
    let mesh = Laptop::start();
    let billing = Workload::join(&mesh, "billing", "http", app.address);
    let host = format!("host: {}", billing.host());
    let ask = || mesh.curl("/invoices/1", &["-H", &host]);
    let until = |status: u16| {
        let begun = Instant::now();
        let answer = wait(&format!("a {status}"), || {
            let answer = ask();
            if answer.status == status {
                Ok(answer)
            } else {
                Err(format!("{answer:?}"))
            }
        });
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        answer
    };
    until(200);

    billing.declare("product-service", "HTTP");
    let refused = until(502);
    assert!(
        refused.body.contains("transport failure reason: TLS error"),
        "the text tells no more than that: {refused:?}"
    );
    assert!(!refused.body.contains("spiffe://"), "{refused:?}");
    for _ in 0..5 {
        assert_eq!(ask().status, 502, "no connection of before is used");
    }

    let line = wait("the access log", || {
        let lines = mesh.access_log("gateway");
        let found = lines.iter().find(|line| line["response_code"] == 502);
        found.cloned().ok_or_else(|| format!("{lines:#?}"))
    });
    assert_eq!(line["response_flags"], "UF", "{line:#}");
    let reason = line["upstream_transport_failure_reason"]
        .as_str()
        .expect("a reason");
    assert!(
        reason.contains("spiffe://cluster.local/ns/my-app/sa/billing"),
        "who it was instead: {reason}"
    );
    let admin = mesh.ports("gateway")["admin"];
    let labels = [
        r#"response_code="502""#,
        r#"response_flags="UF""#,
        r#"destination_service_name="billing""#,
        r#"reporter="source""#,
    ];
    assert!(metric(admin, "istio_requests_total", &labels) >= 6.0);
    assert!(
        metric(
            billing.admin,
            "istio_requests_total",
            &[r#"reporter="destination""#, r#"response_code="502""#]
        ) == 0.0,
        "the wrong peer saw no request"
    );

    billing.declare("billing", "HTTP");
    until(200);
}
