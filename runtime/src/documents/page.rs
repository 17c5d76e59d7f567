//! `GET /documents`: the documents in force as they are written, secrets taken out.

use std::sync::Arc;

use policies::raw;
use serde::Serialize;

use super::{Edition, EditionId};
use crate::admin::{AdminResponse, Lazy};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<D> {
    generation: u64,
    edition: EditionId,
    documents: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    file: String,
    line: u32,
    column: u32,
    /// Whether secrets were taken out of `value`.
    redacted: bool,
    value: serde_json::Value,
}

/// The page of a generation. One file is parsed at a time, while the page is written.
pub fn page(generation: u64, edition: Arc<Edition>, default_namespace: String) -> AdminResponse {
    AdminResponse::json_stream(Page {
        generation,
        edition: edition.id,
        documents: Lazy(move || {
            let default_namespace = default_namespace.clone();
            let edition = Arc::clone(&edition);
            let count = edition.files.len();
            (0..count).flat_map(move |position| {
                let mut found = Vec::new();
                if let Some(file) = edition.files.get(position) {
                    raw::documents_of(file, &mut found);
                }
                let default_namespace = default_namespace.clone();
                let shown = move |document| show(document, &default_namespace);
                found.into_iter().map(shown)
            })
        }),
    })
}

fn show(mut document: raw::RawDocument, default_namespace: &str) -> Shown {
    let redacted = raw::redact(&mut document.value);
    Shown {
        namespace: document
            .namespace
            .unwrap_or_else(|| default_namespace.to_owned()),
        api_version: document.api_version,
        kind: document.kind,
        name: document.name,
        line: document.at.line,
        column: document.at.column,
        file: document.at.file.to_string(),
        redacted,
        value: document.value,
    }
}
