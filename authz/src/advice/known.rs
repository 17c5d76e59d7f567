//! What a set says about workloads: labels, ports, accounts, and which of them a policy selects.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use policies::{
    document::{DocumentSet, LabelSelector, Meta, PeerAuthentication},
    mesh::Mesh,
    registry::{Protocol, Registry},
    source::Location,
    workload::Workload,
};

use crate::{MtlsMode, MtlsModes};

/// A workload that some document declares.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) account: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) ports: Vec<KnownPort>,
}

/// A port that a workload has through a service.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownPort {
    /// The service's.
    pub(super) service: u16,
    /// The workload's own: what policies speak of.
    pub(super) workload: u16,
    pub(super) protocol: Protocol,
}

/// Every declared workload.
#[derive(Debug)]
pub(super) struct Workloads<'a> {
    documents: &'a DocumentSet,
    mesh: &'a Mesh,
    known: Vec<Known<'a>>,
    by_namespace: HashMap<&'a str, Vec<usize>>,
    by_label: HashMap<(&'a str, &'a str), Vec<usize>>,
    /// The PeerAuthentications of a namespace and of the root namespace.
    peers: HashMap<&'a str, DocumentSet>,
}

impl<'a> Workloads<'a> {
    pub(super) fn new(documents: &'a DocumentSet, registry: &'a Registry, mesh: &'a Mesh) -> Self {
        let mut known: Vec<Known<'a>> = Vec::new();
        // A WorkloadEntry may stand behind several services.
        let mut places: HashMap<&Location, usize> = HashMap::new();
        for service in registry.services() {
            for endpoint in &service.endpoints {
                let at = *places.entry(&endpoint.endpoint.at).or_insert_with(|| {
                    let workload = &endpoint.endpoint.workload;
                    known.push(Known {
                        namespace: &workload.namespace,
                        name: &workload.name,
                        account: &workload.service_account,
                        labels: &endpoint.endpoint.labels,
                        ports: Vec::new(),
                    });
                    known.len() - 1
                });
                let ports = service.ports.iter().map(|port| KnownPort {
                    service: port.number,
                    workload: endpoint
                        .ports
                        .get(&*port.name)
                        .copied()
                        .unwrap_or(port.target_port),
                    protocol: port.protocol,
                });
                if let Some(known) = known.get_mut(at) {
                    known.ports.extend(ports);
                }
            }
        }
        for entry in &documents.workload_entries {
            if !places.contains_key(&entry.spec.at) {
                known.push(Known {
                    namespace: &entry.meta.namespace,
                    name: &entry.meta.name,
                    account: entry.spec.service_account.as_deref().unwrap_or_default(),
                    labels: &entry.spec.labels,
                    ports: Vec::new(),
                });
            }
        }
        let mut by_namespace: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut by_label: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (number, workload) in known.iter().enumerate() {
            by_namespace
                .entry(workload.namespace)
                .or_default()
                .push(number);
            for (name, value) in workload.labels {
                by_label.entry((name, value)).or_default().push(number);
            }
        }
        Self {
            documents,
            mesh,
            known,
            by_namespace,
            by_label,
            peers: peers(documents, mesh),
        }
    }

    /// Every workload.
    pub(super) fn all(&self) -> &[Known<'a>] {
        &self.known
    }

    /// Every workload of a namespace; of all namespaces for the root namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<&Known<'a>> {
        if namespace == self.mesh.root_namespace {
            return self.known.iter().collect();
        }
        let numbers = self.by_namespace.get(namespace).into_iter().flatten();
        numbers
            .filter_map(|number| self.known.get(*number))
            .collect()
    }

    /// Whether a service of the namespace, or of any for the root namespace, waits for workloads with the label to register.
    pub(super) fn expects(&self, namespace: &str, name: &str, value: &str) -> bool {
        let anywhere = namespace == self.mesh.root_namespace;
        let entries = self.documents.service_entries.iter();
        let mut entries = entries.filter(|entry| anywhere || entry.meta.namespace == namespace);
        entries.any(|entry| {
            let selector = entry.workload_selector.as_ref();
            let labels = selector.map(|selector| &selector.match_labels);
            labels
                .and_then(|labels| labels.get(name))
                .is_some_and(|known| known.as_str() == value)
        })
    }

    /// The workloads that a policy selects.
    pub(super) fn selected(
        &self,
        meta: &Meta,
        selector: Option<&LabelSelector>,
    ) -> Vec<&Known<'a>> {
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return self.of_namespace(&meta.namespace);
        };
        let anywhere = meta.namespace == self.mesh.root_namespace;
        let candidates = selector
            .match_labels
            .iter()
            .filter_map(|(name, value)| self.by_label.get(&(name.as_str(), value.as_str())))
            .min_by_key(|numbers| numbers.len());
        candidates
            .into_iter()
            .flatten()
            .filter_map(|number| self.known.get(*number))
            .filter(|known| anywhere || known.namespace == meta.namespace)
            .filter(|known| selector.matches(known.labels))
            .collect()
    }

    /// Whether a selector is meant for the workloads of a Gateway, which no document declares.
    pub(super) fn is_for_gateways(&self, selector: Option<&LabelSelector>) -> bool {
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            return false;
        };
        let wanted = labels(selector);
        self.documents.gateways.iter().any(|gateway| {
            let meets =
                |(name, value): (&String, &String)| gateway.selector.get(name) == Some(value);
            !gateway.selector.is_empty() && (gateway.selects(&wanted) || wanted.iter().any(meets))
        })
    }

    /// The weakest mode of the workloads that a policy selects; if none is known, of one with just these labels.
    pub(super) fn weakest_mode(&self, meta: &Meta, selector: Option<&LabelSelector>) -> MtlsMode {
        let known = self.selected(meta, selector);
        let none = known.is_empty();
        let modes = known
            .into_iter()
            .map(|known| self.mode(known.namespace, known.labels.clone()));
        let alone = none.then(|| {
            let labels = selector.map(labels).unwrap_or_default();
            self.mode(&meta.namespace, labels)
        });
        let weakness = |mode: &MtlsMode| match mode {
            MtlsMode::Strict => 0,
            MtlsMode::Permissive => 1,
            MtlsMode::Disable => 2,
        };
        modes
            .chain(alone)
            .max_by_key(weakness)
            .unwrap_or(MtlsMode::Permissive)
    }

    fn mode(&self, namespace: &str, labels: BTreeMap<String, String>) -> MtlsMode {
        let root = self.mesh.root_namespace.as_str();
        let Some(documents) = self.peers.get(namespace).or_else(|| self.peers.get(root)) else {
            return MtlsMode::Permissive;
        };
        let workload = Workload {
            name: String::new(),
            namespace: namespace.to_owned(),
            service_account: String::new(),
            labels,
        };
        MtlsModes::compile(documents, &workload, self.mesh).for_workload()
    }
}

/// Labels that a selector asks for.
pub(super) fn labels(selector: &LabelSelector) -> BTreeMap<String, String> {
    let labels = selector.match_labels.iter();
    labels
        .map(|(name, value)| (name.clone(), value.value.clone()))
        .collect()
}

fn peers<'a>(documents: &'a DocumentSet, mesh: &Mesh) -> HashMap<&'a str, DocumentSet> {
    let mut peers: HashMap<&str, DocumentSet> = HashMap::new();
    let is_root = |policy: &PeerAuthentication| policy.meta.namespace == mesh.root_namespace;
    for policy in &documents.peer_authentications {
        let set = peers.entry(&policy.meta.namespace).or_default();
        set.peer_authentications.push(Arc::clone(policy));
    }
    let of_root: Vec<_> = documents
        .peer_authentications
        .iter()
        .filter(|policy| is_root(policy))
        .cloned()
        .collect();
    for (namespace, set) in &mut peers {
        if *namespace != mesh.root_namespace {
            set.peer_authentications.extend(of_root.iter().cloned());
        }
    }
    peers
}
