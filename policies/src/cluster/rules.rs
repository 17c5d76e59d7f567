//! Which DestinationRule holds for a service, seen from one client.

use std::collections::BTreeMap;

use crate::document::{DestinationRule, DocumentSet, Subset, TrafficPolicy};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service};
use crate::workload::Workload;

/// The rules of a document set, by what they are about.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    by_target: Vec<(Target, &'a DestinationRule)>,
    client: &'a Workload,
    root_namespace: &'a str,
}

#[derive(Debug)]
enum Target {
    /// A service's canonical host.
    Service(std::sync::Arc<str>),
    /// A wildcard.
    Pattern(HostPattern),
}

/// What holds for a service: the rules of one namespace, merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merged<'a> {
    pub(crate) policy: Option<&'a TrafficPolicy>,
    pub(crate) subsets: BTreeMap<&'a str, &'a Subset>,
}

impl<'a> Rules<'a> {
    /// Collects the rules that hold for a client.
    pub(crate) fn new(
        documents: &'a DocumentSet,
        registry: &Registry,
        mesh: &'a Mesh,
        client: &'a Workload,
    ) -> Self {
        let holds = |rule: &DestinationRule| match &rule.workload_selector {
            Some(selector) => {
                rule.meta.namespace == client.namespace && selector.matches(&client.labels)
            }
            None => true,
        };
        let rules = documents
            .destination_rules
            .iter()
            .filter(|rule| holds(rule))
            .filter_map(|rule| Some((target(rule, registry)?, &**rule)))
            .collect();
        Self {
            by_target: rules,
            client,
            root_namespace: &mesh.root_namespace,
        }
    }

    /// The rules for a service: of the client's namespace, else the service's, else the root namespace.
    pub(crate) fn find(&self, service: &Service) -> Merged<'a> {
        for namespace in [
            self.client.namespace.as_str(),
            &service.namespace,
            self.root_namespace,
        ] {
            let here = self
                .by_target
                .iter()
                .filter(|(_, rule)| rule.meta.namespace == namespace);
            // An exact host is nearer than a wildcard, a longer wildcard nearer than a shorter one.
            let nearness = |target: &Target| match target {
                Target::Service(host) => (*host == service.host).then_some(usize::MAX),
                Target::Pattern(pattern) => pattern
                    .matches(&service.host)
                    .then(|| pattern.to_string().len()),
            };
            let near: Vec<(usize, &'a DestinationRule)> = here
                .filter_map(|(target, rule)| Some((nearness(target)?, *rule)))
                .collect();
            let Some(nearest) = near.iter().map(|(nearness, _)| *nearness).max() else {
                continue;
            };
            let mut merged = Merged::default();
            for (_, rule) in near.iter().filter(|(nearness, _)| *nearness == nearest) {
                merged.policy.get_or_insert(&rule.traffic_policy);
                for subset in &rule.subsets {
                    merged.subsets.entry(&subset.name).or_insert(subset);
                }
            }
            return merged;
        }
        Merged::default()
    }
}

/// What a rule is about; none if its host is unknown, which is reported elsewhere.
fn target(rule: &DestinationRule, registry: &Registry) -> Option<Target> {
    match HostPattern::parse(&rule.host) {
        HostPattern::Exact(host) => {
            let service = registry.resolve(&host, &rule.meta.namespace).ok()?;
            Some(Target::Service(std::sync::Arc::clone(&service.host)))
        }
        pattern => Some(Target::Pattern(pattern)),
    }
}
