//! Calls by Dapr's own SDK for Python, over HTTP and gRPC, from a program under `portcullis run --dapr`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod laptop;

use std::path::{Path, PathBuf};

use laptop::{Laptop, stdout};

/// What an application written for Dapr does; the client waits for `/v1.0/healthz/outbound` first.
const PROGRAM: &str = r#"
import json, sys
from dapr.clients import DaprClient

with DaprClient() as client:
    answer = client.invoke_method("product-service", "api/products", data=b"", http_verb="GET")
    products = json.loads(answer.data)
    assert products["service"] == "product-service", products
    assert answer.content_type.startswith("application/json"), answer.content_type
    try:
        client.invoke_method("nobody", "api/products", data=b"", http_verb="GET", timeout=10)
        sys.exit("nobody answered")
    except Exception as error:
        assert "nobody" in str(error), error
print("served")
"#;

/// The SDK's own interpreter, if it is installed.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/dapr/bin/python");
    if !python.is_file() {
        eprintln!(
            "skipped: Dapr's SDK is not installed; `make setup-test` does it from PyPI (dapr)"
        );
        return None;
    }
    Some(python)
}

#[test]
fn daprs_sdk_calls_services() {
    let Some(python) = python() else { return };
    let mesh = Laptop::start();
    for protocol in ["http", "grpc"] {
        // The identity that may ask product-service.
        let output = mesh
            .verb("run")
            .args(["--name", &format!("dapr-{protocol}")])
            .args(["--service-account", "order-service", "--dapr", "--"])
            .arg(&python)
            .args(["-c", PROGRAM])
            .env("DAPR_API_METHOD_INVOCATION_PROTOCOL", protocol)
            .output()
            .unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{protocol}: {complaints}");
        assert!(
            stdout(output).contains("served"),
            "{protocol}: {complaints}"
        );
    }
}
