//! Which caller may have which identity: registration entries, denied unless allowed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use identity::SpiffeId;
use runtime::documents::{Edition, EditionId};

/// One allowance: whoever proves all selectors may be this identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The identity.
    pub id: SpiffeId,
    /// All must be proved; never empty.
    pub selectors: BTreeSet<String>,
    /// The longest life of its certificates, if the entry names one.
    pub ttl: Option<Duration>,
    /// Where the entry is written, as `file:line:column`.
    pub source: Arc<str>,
}

/// A complete set of entries.
#[derive(Debug, Default)]
pub struct Registry {
    /// Counts the sets that were put in force; 0 before the first.
    pub generation: u64,
    /// The files that the entries are from; none before the first set.
    pub documents: Option<Arc<Edition>>,
    /// In the order of the files.
    pub entries: Vec<Entry>,
    /// What is wrong with the files as they are now. If it is not empty after an edit, the last good set is in force.
    pub problems: Vec<String>,
    /// The content of the files that were refused since, if they could be read.
    pub refused: Option<EditionId>,
}

impl Registry {
    /// The content of the files that the entries are from.
    pub fn edition(&self) -> Option<EditionId> {
        self.documents.as_ref().map(|documents| documents.id)
    }

    /// The identities that `evidence` entitles to, each once, in the order of the files.
    pub fn entitled(&self, evidence: &BTreeSet<String>) -> Vec<&Entry> {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.matches(evidence)) {
            if found.iter().all(|earlier| earlier.id != entry.id) {
                found.push(entry);
            }
        }
        found
    }

    /// The entry that allows `id` to a caller with `evidence`.
    pub fn allows(&self, id: &SpiffeId, evidence: &BTreeSet<String>) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.id == *id && entry.matches(evidence))
    }

    /// For a refused caller: the entry that lacks the fewest selectors, in words.
    pub fn nearest(&self, evidence: &BTreeSet<String>) -> String {
        let lacking = |entry: &Entry| entry.selectors.difference(evidence).count();
        let nearest = self.entries.iter().min_by_key(|entry| lacking(entry));
        nearest.map_or_else(
            || "; there are no registration entries".to_owned(),
            |entry| {
                let missing: Vec<_> = entry
                    .selectors
                    .difference(evidence)
                    .map(String::as_str)
                    .collect();
                format!(
                    "; the nearest, `{}` at {}, also wants `{}`",
                    entry.id.as_str(),
                    entry.source,
                    missing.join("`, `")
                )
            },
        )
    }
}

impl Entry {
    fn matches(&self, evidence: &BTreeSet<String>) -> bool {
        // An entry without selectors would match everybody; the loader refuses it, and so do we.
        !self.selectors.is_empty() && self.selectors.is_subset(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, selectors: &[&str]) -> Entry {
        Entry {
            id: SpiffeId::parse(id).unwrap(),
            selectors: selectors.iter().map(ToString::to_string).collect(),
            ttl: None,
            source: "entries/a.yaml:3:1".into(),
        }
    }

    fn evidence(selectors: &[&str]) -> BTreeSet<String> {
        selectors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_selectors_must_be_proved() {
        let registry = Registry {
            entries: vec![
                entry("spiffe://cluster.local/ns/a/sa/one", &["join_token:one"]),
                entry(
                    "spiffe://cluster.local/ns/a/sa/two",
                    &["join_token:one", "unix:uid:5"],
                ),
            ],
            ..Registry::default()
        };
        let found = registry.entitled(&evidence(&["join_token:one"]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].id.path(), "/ns/a/sa/one");
        assert_eq!(
            registry
                .entitled(&evidence(&["join_token:one", "unix:uid:5"]))
                .len(),
            2
        );
        assert!(registry.entitled(&evidence(&["join_token:two"])).is_empty());
        assert!(registry.entitled(&evidence(&[])).is_empty());
    }

    #[test]
    fn an_entry_without_selectors_matches_nobody() {
        let registry = Registry {
            entries: vec![entry("spiffe://cluster.local/ns/a/sa/one", &[])],
            ..Registry::default()
        };
        assert!(registry.entitled(&evidence(&["join_token:one"])).is_empty());
    }

    #[test]
    fn a_refusal_names_the_nearest_entry() {
        let registry = Registry {
            entries: vec![entry(
                "spiffe://cluster.local/ns/a/sa/one",
                &["join_token:one"],
            )],
            ..Registry::default()
        };
        assert_eq!(
            registry.nearest(&evidence(&["join_token:uno"])),
            "; the nearest, `spiffe://cluster.local/ns/a/sa/one` at entries/a.yaml:3:1, also wants \
             `join_token:one`"
        );
    }
}
