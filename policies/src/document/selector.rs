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
    /// The labels of a selector: no empty keys, no wildcards. Whoever writes a selector means to select something.
    pub(crate) fn selector_labels(
        &mut self,
        names: &[&'static str],
    ) -> BTreeMap<String, Spanned<String>> {
        let mut labels = BTreeMap::new();
        let mut written = false;
        for name in names {
            let Some(entries) = self.get(name).map(|cursor| cursor.entries()) else {
                continue;
            };
            // What cannot be read is not empty.
            written |= entries.as_ref().is_none_or(|entries| !entries.is_empty());
            for (key, cursor) in entries.unwrap_or_default() {
                labels.extend(selector_label(key, &cursor));
            }
        }
        if !written {
            let message = "a selector without labels selects every workload";
            let help = "add labels, or remove the selector".to_owned();
            let code = codes::FIELD_WITHOUT_EFFECT;
            self.cursor().warn(code, message, Some(help));
        }
        labels
    }
}

fn selector_label(key: &str, cursor: &Cursor<'_>) -> Option<(String, Spanned<String>)> {
    let value = Spanned::<String>::decode(cursor)?;
    let problem = if key.is_empty() {
        "the name of a label is empty"
    } else if key.contains('*') || value.contains('*') {
        "a selector has no wildcards: labels are compared as they are"
    } else {
        return Some((key.to_owned(), value));
    };
    let at = cursor.key_at();
    let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &cursor.path, problem);
    cursor.context.report(diagnostic);
    None
}

/// `matchLabels` in security kinds.
impl Decode for LabelSelector {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let match_labels = f.selector_labels(&["matchLabels"]);
            Some(Self { match_labels })
        })
    }
}

/// `labels` in networking kinds.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadLabels(pub(crate) LabelSelector);

impl Decode for WorkloadLabels {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let match_labels = f.selector_labels(&["labels"]);
            Some(Self(LabelSelector { match_labels }))
        })
    }
}
