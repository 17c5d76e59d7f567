//! Which DestinationRules hold for a service: not for one client, but for every client that there may be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::audience::Audience;
use crate::document::{DestinationRule, DocumentSet, Subset, TrafficPolicy};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};

/// What some clients see of a service: the rules that hold for them, in document order.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// Whose clients; none is every namespace without rules of its own.
    pub(crate) namespace: Option<Box<str>>,
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
    exact: HashMap<Arc<str>, Vec<Seen<'a>>>,
    /// By the text behind the star; the empty text is `*`.
    wildcards: HashMap<Box<str>, Vec<Seen<'a>>>,
    root_namespace: &'a str,
}

/// A rule with its place in the order of the documents, and who sees it beside its own namespace.
#[derive(Debug)]
struct Seen<'a> {
    number: usize,
    rule: &'a DestinationRule,
    audience: Audience,
}

/// The clients that a view is for.
#[derive(Clone, Copy)]
struct Clients<'c> {
    /// Their namespace; none is one that no document names.
    namespace: Option<&'c str>,
    /// The number of the one rule with a selector that selects them.
    selected: Option<usize>,
}

impl Seen<'_> {
    /// Whether the rule holds for clients.
    fn is_for(&self, clients: Clients<'_>) -> bool {
        let selected =
            self.rule.workload_selector.is_none() || clients.selected == Some(self.number);
        let seen = match clients.namespace {
            Some(namespace) => {
                self.rule.meta.namespace == namespace || self.audience.includes(namespace)
            }
            None => self.audience == Audience::Everywhere,
        };
        selected && seen
    }
}

impl<'a> Views<'a> {
    pub(crate) fn new(documents: &'a DocumentSet, registry: &Registry, mesh: &'a Mesh) -> Self {
        let mut views = Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            root_namespace: &mesh.root_namespace,
        };
        for (number, rule) in documents.destination_rules.iter().enumerate() {
            let rule = Seen {
                number,
                rule,
                audience: mesh.audience_of_rule(rule),
            };
            let rules = match HostPattern::parse(&rule.rule.host) {
                HostPattern::Exact(host) => {
                    // An unknown host is reported by the check of references.
                    let Some(service) = registry.lookup(&host, &rule.rule.meta.namespace) else {
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
        let seen_by = |clients: Clients<'_>| {
            [
                clients.namespace,
                Some(&*service.namespace),
                Some(self.root_namespace),
            ]
            .into_iter()
            .flatten()
            .find_map(|namespace| nearest(&levels, namespace, clients))
            .unwrap_or_default()
        };
        let everybody = Clients {
            namespace: None,
            selected: None,
        };
        let mut views = vec![View {
            namespace: None,
            rules: seen_by(everybody),
        }];
        let mut namespaces: BTreeSet<&str> = BTreeSet::new();
        for seen in levels.iter().copied().flatten() {
            namespaces.insert(&seen.rule.meta.namespace);
            namespaces.extend(seen.audience.names());
        }
        for namespace in namespaces {
            let clients = Clients {
                namespace: Some(namespace),
                selected: None,
            };
            let view = |clients| View {
                namespace: Some(namespace.into()),
                rules: seen_by(clients),
            };
            views.push(view(clients));
            let selected = levels.iter().copied().flatten().filter(|seen| {
                seen.rule.workload_selector.is_some() && seen.rule.meta.namespace == namespace
            });
            views.extend(selected.map(|seen| {
                view(Clients {
                    selected: Some(seen.number),
                    ..clients
                })
            }));
        }
        views
    }

    /// The rules about a service, the nearest first: those of its very name, then by wildcards from long to short.
    fn levels(&self, service: &Service) -> Vec<&[Seen<'a>]> {
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

/// The rules of one namespace that hold for clients.
fn nearest<'a>(
    levels: &[&[Seen<'a>]],
    namespace: &str,
    clients: Clients<'_>,
) -> Option<Vec<&'a DestinationRule>> {
    levels.iter().find_map(|rules| {
        let found: Vec<&'a DestinationRule> = rules
            .iter()
            .filter(|seen| seen.rule.meta.namespace == namespace && seen.is_for(clients))
            .map(|seen| seen.rule)
            .collect();
        (!found.is_empty()).then_some(found)
    })
}
