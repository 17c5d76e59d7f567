//! The WorkloadEntry documents that a selector means, without a look at every one of them.

use std::collections::HashMap;

use crate::document::{DocumentSet, LabelSelector, WorkloadEntry};

/// WorkloadEntry documents by namespace and label, each list in document order.
#[derive(Debug, Default)]
pub(super) struct Workloads<'a> {
    by_namespace: HashMap<&'a str, Vec<&'a WorkloadEntry>>,
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<&'a WorkloadEntry>>,
}

impl<'a> Workloads<'a> {
    pub(super) fn of(documents: &'a DocumentSet) -> Self {
        let mut workloads = Self::default();
        for workload in &documents.workload_entries {
            let namespace = workload.meta.namespace.as_str();
            let of_namespace = workloads.by_namespace.entry(namespace).or_default();
            of_namespace.push(workload);
            for (name, value) in &workload.spec.labels {
                let key = (namespace, name.as_str(), value.as_str());
                workloads.by_label.entry(key).or_default().push(workload);
            }
        }
        workloads
    }

    /// The documents of a namespace that a selector selects, in document order.
    pub(super) fn selected<'s>(
        &'s self,
        namespace: &'s str,
        selector: &'s LabelSelector,
    ) -> impl Iterator<Item = &'s WorkloadEntry> {
        // All of its labels must be there, so the rarest of them leaves the fewest to look at.
        let by_label = selector.match_labels.iter().map(|(name, value)| {
            let key = (namespace, name.as_str(), value.value.as_str());
            self.by_label
                .get(&key)
                .map(Vec::as_slice)
                .unwrap_or_default()
        });
        let fewest = by_label.min_by_key(|workloads| workloads.len());
        let of_namespace = || self.by_namespace.get(namespace).map(Vec::as_slice);
        let candidates = fewest.or_else(of_namespace).unwrap_or_default();
        let matches = |workload: &&WorkloadEntry| selector.matches(&workload.spec.labels);
        candidates.iter().copied().filter(matches)
    }
}
