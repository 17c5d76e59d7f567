//! What `/status` shows.

use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use identity::material::MaterialReader;
use runtime::admin::AdminResponse;
use runtime::documents::EditionId;
use runtime::health::{Readiness, Waiting};
use serde::Serialize;

use crate::config::Profile;
use crate::issuance::Issuance;
use crate::issue::{hex, unix};

/// Where the page takes its facts from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) issuance: Arc<Issuance>,
    pub(super) readiness: Readiness,
    pub(super) reader: MaterialReader,
    pub(super) profile: Profile,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    component: &'static str,
    version: &'static str,
    trust_domain: String,
    profile: &'static str,
    ready: bool,
    waiting_for: Vec<Waiting>,
    identity: Option<Own>,
    authority: Authority,
    bundle: Bundle,
    entries: Entries,
    issued: u64,
    refused: u64,
    rss_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    #[serde(rename = "spiffeId")]
    spiffe_id: String,
    serial: String,
    not_before: String,
    not_after: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authority {
    root_not_after: String,
    intermediate_not_after: String,
    intermediate: String,
    edge: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    sequence: u64,
    roots: usize,
    hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entries {
    generation: u64,
    edition: Option<EditionId>,
    count: usize,
    /// The edition that was refused since; its problems stand below.
    refused: Option<EditionId>,
    problems: Vec<String>,
}

impl Source {
    /// The registration entries in force as they are written.
    pub(super) fn documents(&self) -> AdminResponse {
        let registry = self.issuance.registry();
        match &registry.documents {
            Some(documents) => {
                let namespace = policies::mesh::Mesh::default().default_namespace;
                runtime::documents::page(registry.generation, Arc::clone(documents), namespace)
            }
            None => AdminResponse::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no entries are in force yet; see /status\n",
            ),
        }
    }

    pub(super) fn page(&self) -> AdminResponse {
        let report = self.readiness.report();
        let authority = self.issuance.authority();
        let registry = self.issuance.registry();
        let bundle = self.issuance.bundle().current();
        let totals = self.issuance.store().totals();
        let page = Page {
            component: "ca",
            version: env!("CARGO_PKG_VERSION"),
            trust_domain: self.issuance.trust_domain().as_str().to_owned(),
            profile: self.profile.as_str(),
            ready: report.ready,
            waiting_for: report.waiting_for,
            identity: self.reader.current().map(|material| Own {
                spiffe_id: material.svid.id().as_str().to_owned(),
                serial: material.svid.serial().to_owned(),
                not_before: written(material.svid.not_before()),
                not_after: written(material.svid.not_after()),
            }),
            authority: Authority {
                root_not_after: written(authority.root_validity.not_after),
                intermediate_not_after: written(authority.signer.validity().not_after),
                intermediate: hex(&authority.issuer),
                edge: self.issuance.edge().is_some(),
            },
            bundle: Bundle {
                sequence: bundle.sequence,
                roots: bundle.roots.len(),
                hash: hex(&bundle.hash()),
            },
            entries: Entries {
                generation: registry.generation,
                edition: registry.edition(),
                count: registry.entries.len(),
                refused: registry.refused,
                problems: registry.problems.clone(),
            },
            issued: totals.issued,
            refused: totals.refused,
            rss_bytes: runtime::process::resident_memory(std::process::id()),
        };
        AdminResponse::json(StatusCode::OK, &page)
    }
}

/// RFC 3339, in UTC.
fn written(time: SystemTime) -> String {
    let seconds = i64::try_from(unix(time)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map(|at| at.to_string())
        .unwrap_or_default()
}
