//! Compiling documents and asking for routes in tests.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::path::Path;

use http::HeaderMap;
use policies::check::check;
use policies::diagnostic::Diagnostic;
use policies::load::load;
use policies::mesh::Mesh;
use policies::route::{Compiled, Proxy, RequestView, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

pub(crate) fn mesh() -> Mesh {
    Mesh {
        default_namespace: "my-app".to_owned(),
        ..Mesh::default()
    }
}

pub(crate) fn workload(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Workload {
    Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

pub(crate) fn edge() -> Workload {
    let labels = [("istio", "ingressgateway"), ("app", "istio-ingressgateway")];
    workload("istio-ingressgateway", "istio-system", &labels)
}

fn compile(text: &str, proxy: Proxy<'_>) -> (Compiled, Vec<String>) {
    let loaded = load(&[SourceFile::new("test.yaml", text)], &mesh());
    let (registry, of_check) = check(&loaded.documents, &mesh());
    let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh(), proxy);
    let errors = loaded.diagnostics.into_iter().chain(of_check);
    (
        compiled,
        errors
            .filter(Diagnostic::is_error)
            .map(|error| error.to_string())
            .collect(),
    )
}

pub(crate) fn try_sidecar(text: &str) -> (Compiled, Vec<String>) {
    let workload = workload("order-service", "my-app", &[("app", "order-service")]);
    compile(
        text,
        Proxy::Sidecar {
            workload: &workload,
        },
    )
}

pub(crate) fn try_gateway(text: &str) -> (Compiled, Vec<String>) {
    compile(text, Proxy::Gateway { workload: &edge() })
}

pub(crate) fn sidecar(text: &str) -> Compiled {
    let (compiled, errors) = try_sidecar(text);
    assert!(errors.is_empty(), "{errors:?}");
    compiled
}

pub(crate) fn gateway(text: &str) -> Compiled {
    let (compiled, errors) = try_gateway(text);
    assert!(errors.is_empty(), "{errors:?}");
    compiled
}

pub(crate) fn seeds_002() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    [
        "services/002.yaml",
        "seeds/002-virtual-service.yaml",
        "seeds/002-destination-rule.yaml",
    ]
    .map(|name| std::fs::read_to_string(root.join(name)).unwrap())
    .join("---\n")
}

/// A request on port 80 without headers.
pub(crate) fn request<'a>(host: &'a str, path: &'a str) -> RequestView<'a> {
    static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
    with_headers(host, path, &NONE)
}

pub(crate) fn with_headers<'a>(
    host: &'a str,
    path: &'a str,
    headers: &'a HeaderMap,
) -> RequestView<'a> {
    RequestView {
        host,
        port: 80,
        path,
        query: None,
        method: "GET",
        scheme: "http",
        headers,
        claims: None,
    }
}

/// The explanation of a request ends with the route that it gets.
pub(crate) fn explains(compiled: &Compiled, request: &RequestView<'_>) {
    let found = compiled.routes.find(request).map(std::ptr::from_ref);
    let explanation = compiled.routes.explain(request);
    assert_eq!(
        explanation.route().map(std::ptr::from_ref),
        found,
        "{explanation:?}"
    );
    let rejected = explanation
        .steps
        .iter()
        .rev()
        .skip(usize::from(found.is_some()));
    for step in rejected {
        assert!(!step.mismatches.is_empty(), "{step:?}");
    }
}
