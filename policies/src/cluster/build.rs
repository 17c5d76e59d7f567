//! Clusters from services and destination rules.

use std::collections::HashMap;
use std::sync::Arc;

use super::Effective;
use super::rules::{Merged, Rules};
use super::{
    Cluster, ClusterIndex, ClusterKey, ClusterSet, Endpoint, Fallback, FallbackAnswer,
    PoolSettings, Protocol, ServiceLabels, TlsSettings, Transport,
};
use crate::document::{
    ConnectionPool, DestinationTls, H2Upgrade, LoadBalancerPolicy, Spanned, Subset,
};
use crate::registry::{Service, ServicePort};
use crate::resilience::locality::LocalityRule;
use crate::resilience::{Balancer, Detection, HashKey, Settings};
use crate::workload::Workload;

/// Collects the clusters that routes ask for.
#[derive(Debug)]
pub(crate) struct ClusterBuilder<'a> {
    rules: Rules<'a>,
    /// What holds where no document says anything; most clusters share it.
    plain: Arc<Settings>,
    clusters: Vec<Cluster>,
    /// By canonical host: it has few ports and subsets.
    by_host: HashMap<Arc<str>, Vec<ClusterIndex>>,
}

impl<'a> ClusterBuilder<'a> {
    pub(crate) fn new(rules: Rules<'a>) -> Self {
        Self {
            rules,
            plain: Arc::default(),
            clusters: Vec::new(),
            by_host: HashMap::new(),
        }
    }

    /// The cluster of a service, port and subset.
    ///
    /// A subset that no rule defines for this client has no endpoint, so that its requests are answered with 503.
    pub(crate) fn cluster(
        &mut self,
        service: &Service,
        port: &ServicePort,
        subset: Option<&Spanned<String>>,
    ) -> Option<ClusterIndex> {
        let name = subset.map(|subset| subset.as_str());
        let of_host = self.by_host.get(&service.host).into_iter().flatten();
        let known = of_host.copied().find(|index| {
            let cluster = self.clusters.get(index.position());
            cluster.is_some_and(|cluster| {
                cluster.key.port == port.number && cluster.key.subset.as_deref() == name
            })
        });
        if known.is_some() {
            return known;
        }
        let key = ClusterKey {
            host: Arc::clone(&service.host),
            port: port.number,
            subset: name.map(Arc::from),
        };
        let merged = self.rules.find(service);
        let wanted = subset.map(|name| merged.subsets.get(name.as_str()).copied());
        let mut cluster = self.build(key, service, port, &merged, wanted.flatten());
        if matches!(wanted, Some(None)) {
            cluster.endpoints = Box::default();
        }
        let index = ClusterIndex(u32::try_from(self.clusters.len()).ok()?);
        self.clusters.push(cluster);
        let of_host = self.by_host.entry(Arc::clone(&service.host));
        of_host.or_default().push(index);
        Some(index)
    }

    /// Whether anything was asked for of a service, by its canonical host.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    /// Says what is answered where a service fails, for all of it that was asked for.
    pub(crate) fn fall_back(&mut self, host: &str, fallback: &Arc<Fallback>) {
        for index in self.by_host.get(host).into_iter().flatten() {
            if let Some(cluster) = self.clusters.get_mut(index.position()) {
                // A subset of the service may be what it falls back to.
                let itself = matches!(fallback.answer, FallbackAnswer::Cluster(to) if to == *index);
                cluster.fallback = (!itself).then(|| Arc::clone(fallback));
            }
        }
    }

    pub(crate) fn finish(self) -> ClusterSet {
        ClusterSet {
            clusters: self.clusters.into(),
        }
    }

    fn build(
        &self,
        key: ClusterKey,
        service: &Service,
        port: &ServicePort,
        merged: &Merged<'_>,
        subset: Option<&Subset>,
    ) -> Cluster {
        let blocks = Effective::of(merged, subset, port.number);
        let tls = blocks.tls;
        let pool = PoolSettings::new(blocks.connection_pool.map(|pool| &pool.value));
        let mut endpoints: Vec<Endpoint> = service.endpoints_on(port).collect();
        if let Some(subset) = subset {
            endpoints.retain(|endpoint| {
                subset
                    .labels
                    .iter()
                    .all(|(name, value)| endpoint.labels.get(name) == Some(value))
            });
        }
        let at = subset.map_or(&service.at, |subset| &subset.name.at).clone();
        let named = endpoints.iter().any(|endpoint| endpoint.expected.is_some());
        let transport = transport(tls.map(|tls| tls.mode), named);
        if transport != Transport::Mesh {
            for endpoint in &mut endpoints {
                endpoint.expected = None;
            }
        }
        let upgrade = pool.h2_upgrade == H2Upgrade::Upgrade;
        Cluster {
            sni: tls
                .filter(|_| transport == Transport::Mesh)
                .and_then(|tls| tls.sni.as_deref().map(Arc::from))
                .unwrap_or_else(|| mesh_sni(&key)),
            key,
            service: ServiceLabels {
                name: Arc::clone(&service.name),
                namespace: Arc::clone(&service.namespace),
                host: Arc::clone(&service.host),
            },
            endpoints: endpoints.into(),
            transport,
            identities: match tls {
                _ if transport != Transport::Mesh => Arc::default(),
                Some(tls) if !tls.subject_alt_names.is_empty() => texts(&tls.subject_alt_names),
                _ => texts(&service.subject_alt_names),
            },
            tls: tls.and_then(|tls| TlsSettings::new(tls, &service.subject_alt_names)),
            resolution: service.resolution,
            protocol: if upgrade && port.protocol == Protocol::Http {
                Protocol::Http2
            } else {
                port.protocol
            },
            connect_timeout: pool.connect_timeout,
            pool,
            resilience: self.settings(&blocks),
            health_check: self.rules.health_check(service, port).cloned(),
            fallback: None,
            at,
        }
    }

    fn settings(&self, blocks: &Effective<'_>) -> Arc<Settings> {
        let settings = settings(blocks, self.rules.client());
        if settings == *self.plain {
            Arc::clone(&self.plain)
        } else {
            Arc::new(settings)
        }
    }
}

/// The blocks of a traffic policy, compiled for a client.
fn settings(blocks: &Effective<'_>, client: &Workload) -> Settings {
    let written = blocks.load_balancer;
    let balancer = written.map_or_else(Balancer::default, |written| match &written.policy {
        LoadBalancerPolicy::Unset => Balancer::default(),
        LoadBalancerPolicy::Simple(simple) => (*simple).into(),
        LoadBalancerPolicy::ConsistentHash(hash) => Balancer::Hash {
            key: hash.key.as_ref().and_then(HashKey::new),
            algorithm: hash.algorithm,
        },
    });
    let detection = blocks
        .outlier_detection
        .map(|written| Detection::from(&written.value));
    Settings {
        balancer,
        locality: LocalityRule::compile(
            written.and_then(|written| written.locality.as_deref()),
            detection.is_some(),
            client,
        ),
        warmup: written.and_then(|written| written.warmup),
        detection,
        pool: blocks
            .connection_pool
            .map_or_else(ConnectionPool::default, |pool| pool.value.clone()),
        retry_budget: blocks.retry_budget.map(|budget| budget.value),
    }
}

fn texts(names: &[Spanned<String>]) -> Arc<[Arc<str>]> {
    names.iter().map(|name| name.as_str().into()).collect()
}

/// The server name that Istio's clients ask the mesh's endpoints for.
fn mesh_sni(key: &ClusterKey) -> Arc<str> {
    let subset = key.subset.as_deref().unwrap_or_default();
    format!("outbound_.{}_.{subset}_.{}", key.port, key.host).into()
}

/// How endpoints are reached: as a rule says, else by mTLS if any of them has an identity to prove.
///
/// Istio decides per endpoint; one that forgot its service account would silently get plaintext.
pub(crate) fn transport(rule: Option<DestinationTls>, any_named: bool) -> Transport {
    match rule {
        Some(DestinationTls::IstioMutual) => Transport::Mesh,
        Some(DestinationTls::Simple | DestinationTls::Mutual) => Transport::Tls,
        None if any_named => Transport::Mesh,
        Some(DestinationTls::Disable) | None => Transport::Plaintext,
    }
}
