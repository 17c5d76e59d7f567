//! From registration entry files to the registry: every mistake found, nothing half-accepted.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{SpiffeId, TrustDomain};
use policies::diagnostic::Diagnostic;
use policies::diagnostic::codes::INVALID_LENGTH;
use policies::document::RegistrationEntry;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use runtime::documents::Edition;

use crate::codes;
use crate::registry::{Entry, Registry};

/// The selector types that this authority can prove.
const PROVABLE: &[&str] = &["join_token"];

/// Reads a complete set of files. With any error there are no entries, only findings.
pub fn read(
    files: &[SourceFile],
    trust_domain: &TrustDomain,
) -> (Option<Vec<Entry>>, Vec<Diagnostic>) {
    let mesh = Mesh {
        trust_domain: trust_domain.as_str().to_owned(),
        ..Mesh::default()
    };
    let loaded = policies::load::load(files, &mesh);
    let mut findings = loaded.diagnostics;
    let documents = &loaded.documents.registration_entries;
    let entries = entries(documents, trust_domain, &mut findings);
    let good = !findings.iter().any(Diagnostic::is_error);
    (good.then_some(entries), findings)
}

/// What this authority would refuse about documents that are good in themselves.
pub fn check(documents: &[Arc<RegistrationEntry>], trust_domain: &TrustDomain) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    entries(documents, trust_domain, &mut findings);
    findings
}

fn entries(
    documents: &[Arc<RegistrationEntry>],
    trust_domain: &TrustDomain,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Entry> {
    documents
        .iter()
        .filter_map(|document| entry(document, trust_domain, findings))
        .collect()
}

/// The registry after an edition of the files: the new entries, or the old ones and what is wrong with the new.
pub fn next(
    previous: &Registry,
    edition: &Edition,
    trust_domain: &TrustDomain,
) -> (Registry, Vec<Diagnostic>) {
    let (entries, findings) = read(&edition.files, trust_domain);
    let registry = match entries {
        Some(entries) => Registry {
            generation: previous.generation + 1,
            documents: Some(Arc::new(edition.clone())),
            entries,
            problems: Vec::new(),
            refused: None,
        },
        None => Registry {
            generation: previous.generation,
            documents: previous.documents.clone(),
            entries: previous.entries.clone(),
            problems: findings
                .iter()
                .filter(|f| f.is_error())
                .map(ToString::to_string)
                .collect(),
            refused: Some(edition.id),
        },
    };
    (registry, findings)
}

fn entry(
    document: &RegistrationEntry,
    trust_domain: &TrustDomain,
    findings: &mut Vec<Diagnostic>,
) -> Option<Entry> {
    let before = findings.len();
    let id = identity(document, trust_domain, findings);
    let mut selectors = BTreeSet::new();
    for selector in &document.selectors {
        if !PROVABLE.contains(&selector.value.kind.as_str()) {
            let message = format!(
                "selector type `{}` can't be proved yet",
                selector.value.kind
            );
            findings.push(
                Diagnostic::error(
                    codes::SELECTOR_NOT_PROVABLE,
                    selector.at.clone(),
                    &selector.path,
                    message,
                )
                .with_help("expected `join_token:<name>`"),
            );
        }
        selectors.insert(selector.value.to_string());
    }
    if selectors.is_empty() {
        let message = "an entry without selectors would match every caller";
        let at = document.meta.at.clone();
        findings.push(Diagnostic::error(
            INVALID_LENGTH,
            at,
            "spec.selectors",
            message,
        ));
    }
    if findings.len() > before {
        return None;
    }
    Some(Entry {
        id: id?,
        selectors,
        ttl: document.x509_svid_ttl.as_ref().map(|ttl| ttl.value),
        source: document.spiffe_id.at.to_string().into(),
    })
}

fn identity(
    document: &RegistrationEntry,
    trust_domain: &TrustDomain,
    findings: &mut Vec<Diagnostic>,
) -> Option<SpiffeId> {
    let written = &document.spiffe_id;
    let mut refuse = |message: String, help: String| {
        let at = written.at.clone();
        let finding = Diagnostic::error(codes::IDENTITY_NOT_SIGNED, at, &written.path, message);
        findings.push(finding.with_help(help));
        None
    };
    let shown = runtime::escape::escape(&written.value, 256);
    let id = match SpiffeId::parse(&written.value) {
        Ok(id) => id,
        Err(error) => {
            let help = format!("expected `spiffe://{}/ns/…/sa/…`", trust_domain.as_str());
            return refuse(format!("`{shown}` is no SPIFFE ID: {error}"), help);
        }
    };
    if id.trust_domain() != trust_domain.as_str() {
        return refuse(
            format!(
                "`{shown}` is of another trust domain than `{}`",
                trust_domain.as_str()
            ),
            "this authority signs for its own trust domain only".to_owned(),
        );
    }
    if id.path().is_empty() {
        return refuse(
            format!("`{shown}` names the trust domain itself"),
            "a workload's SPIFFE ID has a path".to_owned(),
        );
    }
    if id.is_reserved() {
        return refuse(
            format!("`{shown}` is reserved"),
            "paths below `/portcullis/` belong to Portcullis itself".to_owned(),
        );
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(spec: &str) -> SourceFile {
        SourceFile::new(
            "entries/order.yaml",
            format!(
                "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {{name: order}}\n\
                 spec:\n{spec}"
            ),
        )
    }

    fn edition(spec: &str) -> Edition {
        vec![file(spec)].into()
    }

    fn domain() -> TrustDomain {
        TrustDomain::parse("cluster.local").unwrap()
    }

    const GOOD: &str = "  spiffeID: spiffe://cluster.local/ns/my-app/sa/order-service\n  selectors: \
                        [\"join_token:order\"]\n  x509SVIDTTL: 1h\n";

    #[test]
    fn a_good_entry_is_read_with_its_place() {
        let (entries, findings) = read(&[file(GOOD)], &domain());
        assert!(findings.is_empty(), "{findings:?}");
        let entries = entries.unwrap();
        assert_eq!(entries[0].id.path(), "/ns/my-app/sa/order-service");
        assert_eq!(entries[0].ttl, Some(std::time::Duration::from_hours(1)));
        assert!(
            entries[0].source.starts_with("entries/order.yaml:5:"),
            "{}",
            entries[0].source
        );
    }

    #[test]
    fn bad_entries_are_refused_and_the_last_good_set_stays() {
        let (good, _) = next(&Registry::default(), &edition(GOOD), &domain());
        assert_eq!((good.generation, good.entries.len()), (1, 1));
        for (id, selector, expected) in [
            (
                "spiffe://cluster.local/portcullis/ca",
                "join_token:x",
                "is reserved",
            ),
            (
                "spiffe://other.org/ns/a/sa/b",
                "join_token:x",
                "another trust domain",
            ),
            (
                "spiffe://cluster.local",
                "join_token:x",
                "names the trust domain itself",
            ),
            (
                "spiffe://cluster.local/a//b",
                "join_token:x",
                "is no SPIFFE ID",
            ),
            (
                "spiffe://cluster.local/ns/a/sa/b",
                "unix:uid:1000",
                "can't be proved yet",
            ),
        ] {
            let spec = format!("  spiffeID: {id}\n  selectors: [\"{selector}\"]\n");
            let (after, findings) = next(&good, &edition(&spec), &domain());
            assert!(
                findings.iter().any(|f| f.message.contains(expected)),
                "{id}: {findings:?}"
            );
            assert_eq!((after.generation, after.entries.len()), (1, 1), "{id}");
            assert_eq!(after.edition(), Some(edition(GOOD).id), "{id}");
            assert_eq!(after.refused, Some(edition(&spec).id), "{id}");
            assert_eq!(after.problems.len(), 1);
        }
    }
}
