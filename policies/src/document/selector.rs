//! Label selectors.

use std::collections::BTreeMap;

use super::Spanned;
use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::{Diagnostic, codes};

/// Istio's `WorkloadSelector`: every label must be there with this very value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector {
    /// `matchLabels` (`labels` in networking kinds); empty selects everything.
    pub match_labels: BTreeMap<String, Spanned<String>>,
}

impl LabelSelector {
    /// Whether a workload with these labels is selected; exact and case sensitive.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(&value.value))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty()
    }
}

impl Fields<'_> {
    /// The labels of a selector: no empty keys, no wildcards.
    pub(crate) fn selector_labels(
        &mut self,
        name: &'static str,
    ) -> BTreeMap<String, Spanned<String>> {
        let entries = self
            .get(name)
            .and_then(|cursor| cursor.entries())
            .unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (key, cursor) in entries {
            let Some(value) = Spanned::<String>::decode(&cursor) else {
                continue;
            };
            let problem = if key.is_empty() {
                "the name of a label is empty"
            } else if key.contains('*') || value.contains('*') {
                "a selector has no wildcards: labels are compared as they are"
            } else {
                labels.insert(key.to_owned(), value);
                continue;
            };
            let at = cursor.key_at();
            self.report(Diagnostic::error(
                codes::INVALID_VALUE,
                at,
                &cursor.path,
                problem,
            ));
        }
        labels
    }
}

/// `matchLabels` in security kinds.
impl Decode for LabelSelector {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                match_labels: f.selector_labels("matchLabels"),
            })
        })
    }
}

/// `labels` in networking kinds.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadLabels(pub(crate) LabelSelector);

impl Decode for WorkloadLabels {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self(LabelSelector {
                match_labels: f.selector_labels("labels"),
            }))
        })
    }
}
