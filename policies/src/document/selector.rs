//! Label selectors.

use std::collections::BTreeMap;

use super::Spanned;
use crate::decode::{Cursor, Decode};

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

/// `matchLabels` in security kinds.
impl Decode for LabelSelector {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            Some(Self {
                match_labels: f.map("matchLabels"),
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
                match_labels: f.map("labels"),
            }))
        })
    }
}
