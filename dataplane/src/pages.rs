//! What a proxy shows of its policy on the admin port: `/snapshot` and `/documents`.

mod listed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use authz::MtlsMode;
use http::StatusCode;
use policies::raw::{self, RawDocument};
use policies::source::Position;
use runtime::admin::{AdminBuilder, AdminResponse, Lazy};
use runtime::documents::{Edition, EditionId};
use serde::Serialize;
use serde_json::Value;

use crate::policy_store::{PolicyStore, rfc3339};
use crate::snapshot::{ProxyContext, Role, Snapshot};

/// Adds both pages.
#[must_use]
pub fn add(admin: AdminBuilder, store: &PolicyStore) -> AdminBuilder {
    let (of_snapshot, of_documents) = (store.clone(), store.clone());
    admin
        .get("/snapshot", move |_| {
            let page = snapshot(&of_snapshot);
            async move { page }
        })
        .get("/documents", move |_| {
            let page = documents(&of_documents);
            async move { page }
        })
}

/// The documents of the generation in force as they are written.
fn documents(store: &PolicyStore) -> AdminResponse {
    match in_force(store) {
        Ok((snapshot, edition)) => {
            let default_namespace = snapshot.mesh.default_namespace.clone();
            runtime::documents::page(snapshot.generation, edition, default_namespace)
        }
        Err(nothing) => nothing,
    }
}

/// The effective configuration: what the documents came to for this proxy, with the place of every value.
fn snapshot(store: &PolicyStore) -> AdminResponse {
    match in_force(store) {
        Ok((snapshot, edition)) => {
            AdminResponse::json_stream(page(snapshot, edition, store.context()))
        }
        Err(nothing) => nothing,
    }
}

fn in_force(store: &PolicyStore) -> Result<(Arc<Snapshot>, Arc<Edition>), AdminResponse> {
    let state = store.state();
    match (&state.snapshot, &state.edition) {
        (Some(snapshot), Some(edition)) => Ok((Arc::clone(snapshot), Arc::clone(edition))),
        _ => Err(AdminResponse::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "no documents are in force yet; see /status\n",
        )),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<L, R, C, A, V> {
    generation: u64,
    edition: EditionId,
    loaded_at: String,
    role: &'static str,
    workload: Value,
    mesh: Value,
    documents: usize,
    warnings: usize,
    files: Vec<FileShown>,
    listeners: L,
    routes: R,
    clusters: C,
    mtls: MtlsShown,
    authorization: A,
    values: V,
}

#[derive(Serialize)]
struct FileShown {
    file: String,
    bytes: usize,
}

#[derive(Serialize)]
struct MtlsShown {
    workload: &'static str,
    ports: BTreeMap<u16, &'static str>,
}

/// One document with the place of each of its values.
#[derive(Serialize)]
struct ValuesShown {
    kind: String,
    namespace: String,
    name: String,
    file: String,
    /// Path in the document to `line:column`.
    at: BTreeMap<String, String>,
}

fn page(
    snapshot: Arc<Snapshot>,
    edition: Arc<Edition>,
    context: &ProxyContext,
) -> impl Serialize + Send + Sync + use<> {
    let ProxyContext { workload, role, .. } = context;
    let mesh = &snapshot.mesh;
    let mode = MtlsMode::as_str;
    let (of_listeners, of_routes, of_clusters) = (
        Arc::clone(&snapshot),
        Arc::clone(&snapshot),
        Arc::clone(&snapshot),
    );
    Page {
        generation: snapshot.generation,
        edition: edition.id,
        loaded_at: rfc3339(SystemTime::clone(&snapshot.loaded_at)),
        role: match role {
            Role::Gateway => "gateway",
            Role::Sidecar => "sidecar",
        },
        workload: serde_json::json!({
            "name": workload.name,
            "namespace": workload.namespace,
            "serviceAccount": workload.service_account,
            "labels": workload.labels,
        }),
        mesh: serde_json::json!({
            "trustDomain": mesh.trust_domain,
            "trustDomainAliases": mesh.trust_domain_aliases,
            "rootNamespace": mesh.root_namespace,
            "defaultNamespace": mesh.default_namespace,
            "pathNormalization": mesh.path_normalization.as_str(),
        }),
        documents: snapshot.documents,
        warnings: snapshot.warnings.len(),
        files: edition
            .files
            .iter()
            .map(|file| FileShown {
                file: file.name.to_string(),
                bytes: file.text.len(),
            })
            .collect(),
        mtls: MtlsShown {
            workload: mode(snapshot.mtls.for_workload()),
            ports: snapshot
                .mtls
                .ports()
                .map(|(port, of_port)| (port, mode(of_port)))
                .collect(),
        },
        listeners: Lazy(move || listed::listeners(&of_listeners).into_iter()),
        routes: Lazy(move || listed::routes(&of_routes).into_iter()),
        clusters: Lazy(move || {
            let snapshot = Arc::clone(&of_clusters);
            (0..snapshot.clusters.len())
                .filter_map(move |position| listed::cluster(&snapshot, position))
        }),
        authorization: {
            let edition = Arc::clone(&edition);
            Lazy(move || policies_in_force(&snapshot, &edition).into_iter())
        },
        values: {
            let default_namespace = mesh_default(context);
            Lazy(move || {
                let edition = Arc::clone(&edition);
                let default_namespace = default_namespace.clone();
                (0..edition.files.len()).flat_map(move |position| {
                    let found = edition.files.get(position).map(raw::values_of);
                    let namespace = default_namespace.clone();
                    let shown =
                        move |(document, values)| values_shown(document, values, &namespace);
                    found.unwrap_or_default().into_iter().map(shown)
                })
            })
        },
    }
}

fn mesh_default(context: &ProxyContext) -> String {
    context.mesh.default_namespace.clone()
}

fn values_shown(
    document: RawDocument,
    values: Vec<(String, Position)>,
    default_namespace: &str,
) -> ValuesShown {
    ValuesShown {
        namespace: document
            .namespace
            .unwrap_or_else(|| default_namespace.to_owned()),
        kind: document.kind,
        name: document.name,
        file: document.at.file.to_string(),
        at: values
            .into_iter()
            .map(|(path, at)| (path, format!("{}:{}", at.line, at.column)))
            .collect(),
    }
}

/// The policies that select this workload, with their rules as written.
fn policies_in_force(snapshot: &Snapshot, edition: &Edition) -> Vec<Value> {
    let default_namespace = &snapshot.mesh.default_namespace;
    let mut written = BTreeMap::new();
    for file in &edition.files {
        let mut found = Vec::new();
        raw::documents_of(file, &mut found);
        let policies = found
            .into_iter()
            .filter(|document| document.kind == "AuthorizationPolicy");
        for mut document in policies {
            raw::redact(&mut document.value);
            let namespace = document.namespace.as_ref().unwrap_or(default_namespace);
            written.insert((namespace.clone(), document.name.clone()), document);
        }
    }
    let shown = |(namespace, name): (&str, &str)| {
        let document = written.get(&(namespace.to_owned(), name.to_owned()));
        let spec = |key: &str| document.and_then(|d| d.value.get("spec")?.get(key).cloned());
        serde_json::json!({
            "namespace": namespace,
            "name": name,
            "at": document.map(|document| document.at.to_string()),
            "action": spec("action").unwrap_or_else(|| "ALLOW".into()),
            "selector": spec("selector"),
            "rules": spec("rules").unwrap_or_else(|| Value::Array(Vec::new())),
        })
    };
    snapshot.authz.names().map(shown).collect()
}

#[cfg(test)]
mod tests;
