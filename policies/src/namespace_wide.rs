//! Kinds of which a namespace has at most one document without a selector.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, LabelSelector, Meta};

/// Istio leaves open which of several would hold.
pub(crate) fn check(documents: &DocumentSet) -> Vec<Diagnostic> {
    let sidecars = documents.sidecars.iter().filter(|document| {
        let selector = document.workload_selector.as_ref();
        selector.is_none_or(LabelSelector::is_empty)
    });
    let telemetries = documents.telemetries.iter();
    let telemetries = telemetries.filter(|document| document.attachment.is_namespace_wide());
    let proxy_configs = documents.proxy_configs.iter();
    let proxy_configs = proxy_configs.filter(|document| document.attachment.is_namespace_wide());
    let mut findings = Vec::new();
    second(sidecars.map(|document| &document.meta), &mut findings);
    second(telemetries.map(|document| &document.meta), &mut findings);
    second(proxy_configs.map(|document| &document.meta), &mut findings);
    findings
}

fn second<'a>(metas: impl Iterator<Item = &'a Meta>, findings: &mut Vec<Diagnostic>) {
    let mut first: BTreeMap<&str, &Meta> = BTreeMap::new();
    for meta in metas {
        let Some(earlier) = first.get(meta.namespace.as_str()) else {
            first.insert(&meta.namespace, meta);
            continue;
        };
        let message = format!(
            "the namespace `{}` has a second {} without a selector, the first is `{}` at {}",
            meta.namespace, meta.kind, earlier.name, earlier.at
        );
        let code = codes::SECOND_FOR_NAMESPACE;
        let finding = Diagnostic::error(code, meta.at.clone(), "spec", message);
        findings.push(finding.with_help("give one of them a selector, or join them"));
    }
}
