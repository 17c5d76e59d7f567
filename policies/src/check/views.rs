//! Which DestinationRules hold for a service: not for one client, but for every client that there may be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::document::{DestinationRule, DocumentSet, Subset, TrafficPolicy};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};

/// What some clients see of a service: the rules that hold for them, in document order.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// Whose clients; none is every namespace without rules of its own.
    pub(crate) namespace: Option<&'a str>,
    rules: Vec<&'a DestinationRule>,
}

impl<'a> View<'a> {
    /// The policy of the first rule that has one, as rules of one host are merged.
    pub(crate) fn policy(&self) -> Option<&'a TrafficPolicy> {
        let mut policies = self.rules.iter().map(|rule| &rule.traffic_policy);
        policies.find(|policy| !policy.is_empty())
    }

    /// A subset by name.
    pub(crate) fn subset(&self, name: &str) -> Option<&'a Subset> {
        self.subsets().find(|subset| subset.name.value == name)
    }

    /// Every subset.
    pub(crate) fn subsets(&self) -> impl Iterator<Item = &'a Subset> {
        self.rules.iter().flat_map(|rule| &rule.subsets)
    }

    /// Where the rules stand.
    pub(crate) fn rules(&self) -> &[&'a DestinationRule] {
        &self.rules
    }
}

/// The rules of a document set, by what they are about.
#[derive(Debug)]
pub(crate) struct Views<'a> {
    /// By canonical host.
    exact: HashMap<Arc<str>, Vec<Numbered<'a>>>,
    /// By the text behind the star; the empty text is `*`.
    wildcards: HashMap<Box<str>, Vec<Numbered<'a>>>,
    root_namespace: &'a str,
}

/// A rule with its place in the order of the documents.
type Numbered<'a> = (usize, &'a DestinationRule);

impl<'a> Views<'a> {
    pub(crate) fn new(documents: &'a DocumentSet, registry: &Registry, mesh: &'a Mesh) -> Self {
        let mut views = Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            root_namespace: &mesh.root_namespace,
        };
        for (number, rule) in documents.destination_rules.iter().enumerate() {
            let rule = (number, &**rule);
            let rules = match HostPattern::parse(&rule.1.host) {
                HostPattern::Exact(host) => {
                    // An unknown host is reported by the check of references.
                    let Some(service) = registry.lookup(&host, &rule.1.meta.namespace) else {
                        continue;
                    };
                    views.exact.entry(Arc::clone(&service.host)).or_default()
                }
                HostPattern::Suffix(suffix) => views.wildcards.entry(suffix).or_default(),
                HostPattern::Any => views.wildcards.entry(Box::default()).or_default(),
            };
            rules.push(rule);
        }
        views
    }

    /// Every view of a service; the first is that of clients without rules of their own.
    pub(crate) fn of(&self, service: &Service) -> Vec<View<'a>> {
        let levels = self.levels(service);
        let everybody = [&*service.namespace, self.root_namespace]
            .into_iter()
            .find_map(|namespace| nearest(&levels, namespace, None))
            .unwrap_or_default();
        let mut views = vec![View {
            namespace: None,
            rules: everybody,
        }];
        let namespaces: BTreeSet<&'a str> = levels
            .iter()
            .copied()
            .flatten()
            .map(|(_, rule)| rule.meta.namespace.as_str())
            .collect();
        for namespace in namespaces {
            let view = |rules| View {
                namespace: Some(namespace),
                rules,
            };
            views.extend(nearest(&levels, namespace, None).map(view));
            let selected = levels.iter().copied().flatten().filter(|(_, rule)| {
                rule.workload_selector.is_some() && rule.meta.namespace == namespace
            });
            views
                .extend(selected.filter_map(|(number, _)| {
                    nearest(&levels, namespace, Some(*number)).map(view)
                }));
        }
        views
    }

    /// The rules about a service, the nearest first: those of its very name, then by wildcards from long to short.
    fn levels(&self, service: &Service) -> Vec<&[Numbered<'a>]> {
        let exact = self.exact.get(&service.host);
        let dots = service.host.char_indices().skip(1);
        let suffixes = dots
            .filter(|(_, character)| *character == '.')
            .filter_map(|(dot, _)| service.host.get(dot..))
            .chain([""]);
        let wild = suffixes.filter_map(|suffix| self.wildcards.get(suffix));
        exact.into_iter().chain(wild).map(Vec::as_slice).collect()
    }
}

/// The rules of one namespace that hold for clients there which `selected`, and no other rule with a selector, selects.
fn nearest<'a>(
    levels: &[&[Numbered<'a>]],
    namespace: &str,
    selected: Option<usize>,
) -> Option<Vec<&'a DestinationRule>> {
    levels.iter().find_map(|rules| {
        let found: Vec<&'a DestinationRule> = rules
            .iter()
            .filter(|(number, rule)| {
                rule.meta.namespace == namespace
                    && (rule.workload_selector.is_none() || selected == Some(*number))
            })
            .map(|(_, rule)| *rule)
            .collect();
        (!found.is_empty()).then_some(found)
    })
}
