//! Clusters from services and destination rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::rules::{Merged, Rules};
use super::schedule::Schedule;
use super::{
    Cluster, ClusterIndex, ClusterKey, ClusterSet, Endpoint, Protocol, ServiceLabels, Transport,
};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DestinationTls, H2Upgrade, Spanned, Subset};
use crate::nearest::nearest;
use crate::registry::{Service, ServicePort};

/// Istio's default of `connectTimeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Collects the clusters that routes ask for.
#[derive(Debug)]
pub(crate) struct ClusterBuilder<'a> {
    rules: Rules<'a>,
    clusters: Vec<Cluster>,
    by_key: HashMap<ClusterKey, ClusterIndex>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl<'a> ClusterBuilder<'a> {
    pub(crate) fn new(rules: Rules<'a>) -> Self {
        Self {
            rules,
            clusters: Vec::new(),
            by_key: HashMap::new(),
            diagnostics: Vec::new(),
        }
    }

    /// The cluster of a service, port and subset; none after an error.
    pub(crate) fn cluster(
        &mut self,
        service: &Service,
        port: &ServicePort,
        subset: Option<&Spanned<String>>,
    ) -> Option<ClusterIndex> {
        let name = subset.map(|subset| Arc::from(subset.as_str()));
        let key = ClusterKey {
            host: Arc::clone(&service.host),
            port: port.number,
            subset: name,
        };
        if let Some(index) = self.by_key.get(&key) {
            return Some(*index);
        }
        let merged = self.rules.find(service);
        let subset = match subset {
            None => None,
            Some(name) => {
                if let Some(subset) = merged.subsets.get(name.as_str()) {
                    Some(*subset)
                } else {
                    self.diagnostics.push(unknown_subset(
                        name,
                        service,
                        merged.subsets.keys().copied(),
                    ));
                    return None;
                }
            }
        };
        let cluster = self.build(key.clone(), service, port, &merged, subset);
        let index = ClusterIndex(u32::try_from(self.clusters.len()).ok()?);
        self.clusters.push(cluster);
        self.by_key.insert(key, index);
        Some(index)
    }

    pub(crate) fn finish(self) -> (ClusterSet, Vec<Diagnostic>) {
        (
            ClusterSet {
                clusters: self.clusters.into(),
            },
            self.diagnostics,
        )
    }

    fn build(
        &mut self,
        key: ClusterKey,
        service: &Service,
        port: &ServicePort,
        merged: &Merged<'_>,
        subset: Option<&Subset>,
    ) -> Cluster {
        let policies = || {
            subset
                .map(|subset| &subset.traffic_policy)
                .into_iter()
                .chain(merged.policy)
        };
        let tls = policies().find_map(|policy| policy.tls.as_ref());
        let pool = policies().find_map(|policy| policy.connection_pool.as_ref());
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
        if endpoints.is_empty() {
            let path = subset
                .map(|subset| subset.name.path.to_string())
                .unwrap_or_default();
            let message = format!("no endpoint belongs to `{key}`: requests are answered with 503");
            self.diagnostics.push(Diagnostic::warning(
                codes::NO_ENDPOINTS,
                at.clone(),
                path,
                message,
            ));
        }
        let transport = self.transport(&key, &mut endpoints, tls);
        let upgrade = pool.is_some_and(|pool| pool.h2_upgrade == H2Upgrade::Upgrade);
        let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        Cluster {
            key,
            service: ServiceLabels {
                name: Arc::clone(&service.name),
                namespace: Arc::clone(&service.namespace),
                host: Arc::clone(&service.host),
            },
            schedule: Schedule::new(&weights),
            endpoints: endpoints.into(),
            transport,
            protocol: if upgrade && port.protocol == Protocol::Http {
                Protocol::Http2
            } else {
                port.protocol
            },
            connect_timeout: pool
                .and_then(|pool| pool.connect_timeout)
                .unwrap_or(CONNECT_TIMEOUT),
            at,
        }
    }

    /// How the endpoints are reached; an endpoint that should prove an identity but has none is an error.
    fn transport(
        &mut self,
        key: &ClusterKey,
        endpoints: &mut [Endpoint],
        tls: Option<&Spanned<DestinationTls>>,
    ) -> Transport {
        let mode = tls.map(|tls| tls.value);
        let any_named = endpoints.iter().any(|endpoint| endpoint.expected.is_some());
        if mode == Some(DestinationTls::IstioMutual) || (mode.is_none() && any_named) {
            // Istio decides per endpoint; one that forgot its service account would silently get plaintext.
            for nameless in endpoints
                .iter()
                .filter(|endpoint| endpoint.expected.is_none())
            {
                let message = format!(
                    "`{key}` is reached by mTLS, but this endpoint has no identity to verify"
                );
                let at = nameless.at.clone();
                let help = "give it a `serviceAccount`, or say `tls: {mode: DISABLE}` in a DestinationRule";
                let diagnostic = Diagnostic::error(codes::UNVERIFIABLE_ENDPOINT, at, "", message);
                self.diagnostics.push(diagnostic.with_help(help));
            }
            return Transport::Mesh;
        }
        for endpoint in endpoints {
            endpoint.expected = None;
        }
        Transport::Plaintext
    }
}

/// A subset that no rule defines.
pub(crate) fn unknown_subset<'a>(
    subset: &Spanned<String>,
    service: &Service,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostic {
    let known: Vec<&str> = known.collect();
    let message = format!(
        "no DestinationRule defines the subset `{subset}` of `{}`",
        service.host
    );
    let help = match nearest(subset, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "define it in a DestinationRule for the host".to_owned(),
        None => format!("defined are: {}", known.join(", ")),
    };
    Diagnostic::error(
        codes::UNKNOWN_SUBSET,
        subset.at.clone(),
        &subset.path,
        message,
    )
    .with_help(help)
}
