//! Several DestinationRules for one host: they are merged, and the first of them wins where they disagree.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DestinationRule, DocumentSet, Spanned};
use crate::host::HostPattern;
use crate::registry::Registry;

/// The host of a rule, in full if it is known.
type Host<'a> = (&'a str, Arc<str>);

/// Finds parts of rules that have no effect beside an earlier rule.
pub(super) fn check(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let mut policies: HashMap<Host<'_>, &DestinationRule> = HashMap::new();
    let mut subsets: HashMap<(Host<'_>, &str), &Spanned<String>> = HashMap::new();
    for rule in &documents.destination_rules {
        // Rules for different clients may say different things.
        if rule.workload_selector.is_some() {
            continue;
        }
        let namespace = rule.meta.namespace.as_str();
        let full = match HostPattern::parse(&rule.host) {
            HostPattern::Exact(host) => registry
                .lookup(&host, namespace)
                .map_or_else(|| Arc::from(host), |service| Arc::clone(&service.host)),
            pattern => Arc::from(pattern.to_string()),
        };
        let host = (namespace, full);
        for subset in &rule.subsets {
            let name = &subset.name;
            let key = (host.clone(), name.as_str());
            if let Some(first) = subsets.get(&key) {
                let message = format!(
                    "the subset `{name}` of `{}` is defined at {} already: this one has no effect",
                    rule.host, first.at
                );
                found.push(conflict(name, message));
            } else {
                subsets.insert(key, name);
            }
        }
        if rule.traffic_policy.is_empty() {
            continue;
        }
        if let Some(first) = policies.get(&host) {
            let message = format!(
                "{} at {} has a `trafficPolicy` for `{}` already: this one has no effect",
                first.meta, first.meta.at, rule.host
            );
            found.push(conflict(&rule.host, message));
        } else {
            policies.insert(host, rule);
        }
    }
}

fn conflict(what: &Spanned<String>, message: String) -> Diagnostic {
    Diagnostic::warning(
        codes::CONFLICTING_RULES,
        what.at.clone(),
        &what.path,
        message,
    )
    .with_help("write one DestinationRule for the host")
}
