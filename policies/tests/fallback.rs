//! Fallback: what is read, what is refused, and whose word counts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use policies::diagnostic::Diagnostic;
use policies::document::{FallbackAnswer, FallbackWhen};
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;

fn files(spec: &str) -> [SourceFile; 1] {
    let text = format!(
        "apiVersion: portcullis.dev/v1\nkind: Fallback\nmetadata: {{name: x, namespace: my-app}}\nspec: {spec}\n"
    );
    [SourceFile::new("a.yaml", text)]
}

/// The messages of the errors.
fn errors(spec: &str) -> Vec<String> {
    let loaded = load(&files(spec), &Mesh::default());
    let errors = loaded.diagnostics.into_iter().filter(Diagnostic::is_error);
    errors.map(|found| found.message).collect()
}

#[test]
fn a_response_or_a_destination_is_read() {
    let spec = "{host: payment-service, when: [overflow, noHealthyUpstream, timeout, connectFailure, 5xx], \
                response: {status: 503, body: '{}', contentType: application/json}}";
    let loaded = load(&files(spec), &Mesh::default());
    let fallback = &loaded.documents.fallbacks[0];
    assert_eq!(fallback.host.value, "payment-service");
    assert_eq!(fallback.when.len(), 5);
    assert_eq!(fallback.when[4], FallbackWhen::ServerError);
    let FallbackAnswer::Response(response) = &fallback.answer else {
        panic!("{fallback:?}")
    };
    assert_eq!((response.status, response.body.as_str()), (503, "{}"));
    assert_eq!(response.content_type, "application/json");
    let spec = "{host: a, when: [timeout], destination: {host: b, subset: v1, port: {number: 80}}}";
    let loaded = load(&files(spec), &Mesh::default());
    let FallbackAnswer::Destination(to) = &loaded.documents.fallbacks[0].answer else {
        panic!("{loaded:?}")
    };
    assert_eq!(to.host.value, "b");
}

#[test]
fn what_says_nothing_or_too_much_is_refused() {
    for (spec, part) in [
        ("{when: [5xx], response: {}}", "host"),
        ("{host: a, response: {}}", "when"),
        ("{host: a, when: [], response: {}}", "when"),
        ("{host: a, when: [5xx]}", "response"),
        (
            "{host: a, when: [5xx], response: {}, destination: {host: b}}",
            "destination",
        ),
        ("{host: a, when: [4xx], response: {}}", "4xx"),
        (
            "{host: a, when: [5xx], response: {status: 100}}",
            "200 to 599",
        ),
        (
            "{host: a, when: [5xx], response: {status: 204, body: x}}",
            "204",
        ),
        (
            "{host: a, when: [5xx], response: {contentType: json}}",
            "media type",
        ),
        ("{host: a, when: [5xx], response: {text: x}}", "text"),
        ("{host: a, when: [5xx], destination: {subset: v1}}", "host"),
    ] {
        let errors = errors(spec);
        assert!(
            errors.iter().any(|error| error.contains(part)),
            "{spec}: {errors:?}"
        );
    }
}
