//! Sets of host patterns that answer whether another pattern has a host in common, without looking at each.

use std::collections::{HashMap, HashSet};

use crate::host::HostPattern;
use crate::registry::Registry;

/// Host patterns, each in a namespace of its own; `*` is a namespace like any other here.
#[derive(Debug, Default)]
pub(crate) struct HostSet(HashMap<Box<str>, Patterns>);

#[derive(Debug, Default)]
struct Patterns {
    patterns: HashSet<HostPattern>,
    /// Every `.suffix` that some pattern ends with, itself excluded.
    above: HashSet<Box<str>>,
}

impl HostSet {
    /// A host as it is written, and in full if it is the short name of a service: both are what the author means.
    pub(crate) fn spellings(host: &str, namespace: &str, registry: &Registry) -> Vec<HostPattern> {
        let written = HostPattern::parse(host);
        let full = match &written {
            HostPattern::Exact(name) if !name.contains('.') => registry
                .lookup(name, namespace)
                .map(|service| HostPattern::parse(&service.host)),
            _ => None,
        };
        [Some(written), full].into_iter().flatten().collect()
    }

    /// Adds a pattern.
    pub(crate) fn insert(&mut self, namespace: &str, pattern: &HostPattern) {
        if !self.0.contains_key(namespace) {
            self.0.insert(namespace.into(), Patterns::default());
        }
        let Some(set) = self.0.get_mut(namespace) else {
            return;
        };
        if !set.patterns.contains(pattern) {
            let above = match pattern {
                HostPattern::Exact(name) => suffixes(name),
                HostPattern::Suffix(suffix) => suffixes(suffix),
                HostPattern::Any => Vec::new(),
            };
            set.above.extend(above.into_iter().map(Box::from));
            set.patterns.insert(pattern.clone());
        }
    }

    /// Whether a pattern has a host in common with one of the namespace.
    pub(crate) fn meets(&self, namespace: &str, pattern: &HostPattern) -> bool {
        let Some(Patterns { patterns, above }) = self.0.get(namespace) else {
            return false;
        };
        let covered = |text: &str| {
            let suffix = |suffix: &str| patterns.contains(&HostPattern::Suffix(suffix.into()));
            patterns.contains(&HostPattern::Any) || suffixes(text).into_iter().any(suffix)
        };
        match pattern {
            HostPattern::Exact(name) => patterns.contains(pattern) || covered(name),
            HostPattern::Suffix(suffix) => {
                patterns.contains(pattern) || covered(suffix) || above.contains(suffix)
            }
            HostPattern::Any => true,
        }
    }
}

/// Every `.suffix` behind the first character.
fn suffixes(text: &str) -> Vec<&str> {
    text.char_indices()
        .skip(1)
        .filter(|(_, character)| *character == '.')
        .filter_map(|(dot, _)| text.get(dot..))
        .collect()
}
