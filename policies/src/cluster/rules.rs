//! Which DestinationRule holds for a service, seen from one client.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::health::HealthChecks;
use crate::document::health_check::HealthCheckSettings;
use crate::document::{DestinationRule, DocumentSet, Subset, TrafficPolicy};
use crate::host::HostPattern;
use crate::mesh::Mesh;
use crate::registry::{Registry, Service, ServicePort};
use crate::workload::Workload;

/// The rules of a document set, by what they are about.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    /// By canonical host.
    exact: HashMap<Arc<str>, Vec<&'a DestinationRule>>,
    /// Wildcards, with the length of their text.
    wildcards: Vec<(HostPattern, usize, &'a DestinationRule)>,
    checks: HealthChecks<'a>,
    client: &'a Workload,
    root_namespace: &'a str,
}

/// What holds for a service: the rules of one namespace, merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merged<'a> {
    pub(crate) policy: Option<&'a TrafficPolicy>,
    pub(crate) subsets: BTreeMap<&'a str, &'a Subset>,
}

impl<'a> Rules<'a> {
    /// Collects the rules that hold for a client: those of its own namespace, and those that are exported to it.
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
            None => {
                rule.meta.namespace == client.namespace
                    || mesh.audience_of_rule(rule).includes(&client.namespace)
            }
        };
        let mut exact: HashMap<Arc<str>, Vec<&'a DestinationRule>> = HashMap::new();
        let mut wildcards = Vec::new();
        for rule in documents
            .destination_rules
            .iter()
            .map(|rule| &**rule)
            .filter(|rule| holds(rule))
        {
            match HostPattern::parse(&rule.host) {
                // An unknown host is reported by the check of references.
                HostPattern::Exact(host) => {
                    if let Some(service) = registry.lookup(&host, &rule.meta.namespace) {
                        exact
                            .entry(Arc::clone(&service.host))
                            .or_default()
                            .push(rule);
                    }
                }
                pattern => wildcards.push((pattern, rule.host.len(), rule)),
            }
        }
        Self {
            exact,
            wildcards,
            checks: HealthChecks::new(documents, registry),
            client,
            root_namespace: &mesh.root_namespace,
        }
    }

    /// Whose rules these are.
    pub(crate) const fn client(&self) -> &'a Workload {
        self.client
    }

    /// How the endpoints of a service's port are checked: by a HealthCheck of the client's namespace, else the service's, else
    /// the root namespace, as with rules.
    pub(crate) fn health_check(
        &self,
        service: &Service,
        port: &ServicePort,
    ) -> Option<&'a Arc<HealthCheckSettings>> {
        let namespaces = [
            self.client.namespace.as_str(),
            &service.namespace,
            self.root_namespace,
        ];
        self.checks.find(service, port, &namespaces)
    }

    /// The rules for a service: of the client's namespace, else the service's, else the root namespace.
    pub(crate) fn find(&self, service: &Service) -> Merged<'a> {
        let exact = self
            .exact
            .get(&service.host)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for namespace in [
            self.client.namespace.as_str(),
            &service.namespace,
            self.root_namespace,
        ] {
            let here = |rule: &&&'a DestinationRule| rule.meta.namespace == namespace;
            let mut nearest: Vec<&'a DestinationRule> =
                exact.iter().filter(here).copied().collect();
            if nearest.is_empty() {
                let matching = || {
                    self.wildcards
                        .iter()
                        .filter(|(pattern, _, rule)| here(&rule) && pattern.matches(&service.host))
                };
                let longest = matching().map(|(_, length, _)| *length).max();
                nearest.extend(
                    matching()
                        .filter(|(_, length, _)| Some(*length) == longest)
                        .map(|(_, _, rule)| *rule),
                );
            }
            if nearest.is_empty() {
                continue;
            }
            let mut merged = Merged::default();
            for rule in nearest {
                // The first that says something (Istio's mergeDestinationRule).
                if !rule.traffic_policy.is_empty() {
                    merged.policy.get_or_insert(&rule.traffic_policy);
                }
                for subset in &rule.subsets {
                    merged.subsets.entry(&subset.name).or_insert(subset);
                }
            }
            return merged;
        }
        Merged::default()
    }
}
