//! Where the documents to show come from: `/documents` of a process, or files.

use std::path::PathBuf;

use policies::document::Kind;
use policies::raw::{self, Identity};
use serde::Deserialize;

use super::{Query, Shown};
use crate::admin_port;
use crate::cli::Get;
use crate::directory::MeshDir;
use crate::exit::{Context as _, Failure};
use crate::inputs;
use crate::names::DEFAULT_NAMESPACE;
use crate::record::{PartRecord, Record};

/// What `/documents` answers.
#[derive(Deserialize)]
struct Page {
    documents: Vec<Told>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    file: String,
    line: u32,
    column: u32,
    redacted: bool,
    value: serde_json::Value,
}

/// The documents of files.
pub(super) fn of_files(paths: &[PathBuf]) -> Result<Vec<Shown>, Failure> {
    let files = inputs::read(paths)?;
    let shown = raw::documents(&files).into_iter().map(|document| Shown {
        identity: document.identity(DEFAULT_NAMESPACE),
        at: document.at.to_string(),
        api_version: document.api_version,
        redacted: false,
        value: document.value,
    });
    Ok(shown.collect())
}

/// The documents that a process of the running mesh has in force: the one that is named, else the gateway, and the CA
/// for registration entries.
pub(super) fn of_process(args: &Get, query: &Query) -> Result<Vec<Shown>, Failure> {
    let dir = MeshDir::resolve(&args.dir)?;
    let record = Record::of_running(&dir)?;
    let names = if let Some(name) = &args.from {
        vec![name.as_str()]
    } else {
        let entries = |kind: &Kind| *kind == Kind::RegistrationEntry;
        let kinds = query.kinds.as_deref();
        let mut names = Vec::new();
        if kinds.is_none_or(|kinds| !kinds.iter().all(entries)) {
            names.push("gateway");
        }
        if kinds.is_none_or(|kinds| kinds.iter().any(entries)) {
            names.push("ca");
        }
        names
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start".to_owned())?;
    let mut all = Vec::new();
    for name in names {
        let part = part(&record, name)?;
        let admin = part.ports.get("admin").copied().ok_or_else(|| {
            Failure::unreachable(format!("`{name}` is not ready")).hint("try again in a second")
        })?;
        let told = runtime.block_on(admin_port::get_large(admin, "/documents"));
        let body = told.map_err(Failure::unreachable)?;
        let page: Page = serde_json::from_slice(&body)
            .context(|| format!("cannot understand the documents of `{name}`"))?;
        all.extend(page.documents.into_iter().map(shown));
    }
    Ok(all)
}

fn part<'a>(record: &'a Record, name: &str) -> Result<&'a PartRecord, Failure> {
    let found = record
        .part(name)
        .filter(|part| part.ports.contains_key("admin"))
        .or_else(|| record.part(&format!("{name}-sidecar")));
    found.ok_or_else(|| {
        let known: Vec<&str> = record
            .parts
            .iter()
            .filter(|part| part.ports.contains_key("admin"))
            .map(|part| part.name.as_str())
            .collect();
        Failure::usage(format!("`{name}` is no process of this mesh"))
            .hint(format!("processes are: {}", known.join(", ")))
    })
}

fn shown(told: Told) -> Shown {
    let (group, _) = told.api_version.split_once('/').unwrap_or_default();
    Shown {
        identity: Identity {
            group: group.to_owned(),
            kind: told.kind,
            namespace: told.namespace,
            name: told.name,
        },
        at: format!("{}:{}:{}", told.file, told.line, told.column),
        api_version: told.api_version,
        redacted: told.redacted,
        value: told.value,
    }
}
