//! How a DestinationRule is read.

use super::{DestinationRule, Subset};
use crate::decode::{Cursor, Decode, DnsLabel, Document, Fields, HostText, labels};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::export_to::{Exported, export_to};
use crate::document::{LabelSelector, Meta, Spanned};

impl Document for DestinationRule {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let host = f.required::<Spanned<HostText>>("host");
        let traffic_policy = f.or_default("trafficPolicy");
        let subsets = f.list::<Subset>("subsets");
        let workload_selector = f
            .optional::<ClientSelector>("workloadSelector")
            .map(|ClientSelector(selector)| selector);
        let with_selector = workload_selector.is_some();
        let export_to = export_to(f, &meta.namespace, Exported::Rule { with_selector });
        for (position, subset) in subsets.iter().enumerate() {
            let mut earlier = subsets.iter().take(position);
            if earlier.any(|earlier| earlier.name == subset.name) {
                let message = format!("the subset `{}` is defined twice", subset.name);
                let at = subset.name.at.clone();
                let path = &subset.name.path;
                f.report(Diagnostic::error(codes::DUPLICATE_ENTRY, at, path, message));
            }
        }
        Some(Self {
            meta,
            host: host?.map(|HostText(text)| text),
            traffic_policy,
            subsets,
            workload_selector,
            export_to,
        })
    }
}

/// DestinationRule writes `matchLabels`, other networking kinds `labels`; both are understood.
struct ClientSelector(LabelSelector);

impl Decode for ClientSelector {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let match_labels = f.selector_labels(&["matchLabels", "labels"]);
            f.exclusive(&["matchLabels", "labels"]);
            Some(Self(LabelSelector { match_labels }))
        })
    }
}

impl Decode for Subset {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let name = f.required::<Spanned<DnsLabel>>("name");
            let labels = labels(f, "labels");
            let traffic_policy = f.or_default("trafficPolicy");
            Some(Self {
                name: name?.map(|DnsLabel(name)| name),
                labels,
                traffic_policy,
            })
        })
    }
}
