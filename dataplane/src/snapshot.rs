//! One consistent generation of everything that decides about a request.

mod destination;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use authz::jwt::TokenRules;
use authz::{MtlsModes, PolicySet};
use policies::cluster::{ClusterIndex, ClusterKey, ClusterSet, Resolution};
use policies::diagnostic::{Diagnostic, Severity};
use policies::listener::GatewayListeners;
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::rate_limit::RateLimits;
use policies::resilience::Live;
use policies::route::{LimitService, Proxy, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

use crate::breakers;
use crate::checked::{Checked, check};
use crate::clock;
use crate::decisions::RuleUses;
use crate::ext_authz::Providers;
use crate::resolve::Resolver;

pub(crate) use destination::{Asked, Destination};

/// The kind of proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The ingress gateway.
    Gateway,
    /// A workload's sidecar.
    Sidecar,
}

/// For whom snapshots are built; fixed for the life of the process.
#[derive(Debug, Clone)]
pub struct ProxyContext {
    /// The process's mesh-wide settings; what is in force stands in [`Snapshot::mesh`].
    pub mesh: Mesh,
    /// The proxy's own workload.
    pub workload: Workload,
    /// The kind of proxy.
    pub role: Role,
    /// Where the credentials are that documents name (`credentialName`): a gateway's directory.
    pub credentials: Option<Arc<Path>>,
    /// Who resolves the names of endpoints.
    pub resolver: Resolver,
}

/// One generation: policy, routes and clusters that were written together. A request loads it once.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts successful loads from 1.
    pub generation: u64,
    /// Mesh-wide settings: the process's, with the set's MeshConfig applied.
    pub mesh: Mesh,
    /// Who may; shared, since explanations outlive the generation.
    pub authz: Arc<PolicySet>,
    /// How often each of its rules was used; counters are carried from generation to generation.
    pub uses: RuleUses,
    /// Which tokens are accepted.
    pub tokens: TokenRules,
    /// Which ports demand mTLS.
    pub mtls: MtlsModes,
    /// Where requests go.
    pub routes: RouteTable,
    /// What the routes name.
    pub clusters: ClusterSet,
    /// The mesh's external authorizers.
    pub providers: Providers,
    /// How many requests pass; what was counted is carried from generation to generation.
    pub rate_limits: RateLimits,
    /// The services that decide about them.
    pub limit_services: Box<[LimitService]>,
    /// Live state by [`ClusterIndex`], carried from generation to generation by cluster key.
    pub live: Box<[Arc<Live>]>,
    /// What a gateway listens to; `None` on a sidecar.
    pub listeners: Option<GatewayListeners>,
    /// What the documents say that is not in force, and other findings that are no errors.
    pub warnings: Vec<Diagnostic>,
    /// How many documents are in force.
    pub documents: usize,
    /// When it was built.
    pub loaded_at: SystemTime,
    /// Who resolves the names of endpoints.
    pub(crate) resolver: Resolver,
    /// The names whose addresses are endpoints.
    pub(crate) names: Box<[Arc<str>]>,
    destinations: Box<[Destination]>,
}

impl Snapshot {
    /// Builds a generation from a complete document set that [`check`] finds good.
    ///
    /// # Errors
    /// Every finding, warnings too, when any of them is an error; nothing is half accepted.
    pub fn build(
        loader: &mut Loader,
        files: &[SourceFile],
        context: &ProxyContext,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let ProxyContext { workload, role, .. } = context;
        let Checked {
            documents,
            registry,
            mesh,
            mut diagnostics,
        } = check(loader, files, &context.mesh);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(diagnostics);
        }
        // What is only good to know is for `lint`.
        diagnostics.retain(|finding| finding.severity == Severity::Warning);
        let proxy = match role {
            Role::Gateway => Proxy::Gateway { workload },
            Role::Sidecar => Proxy::Sidecar { workload },
        };
        let mut compiled = RouteTable::compile(&documents, &registry, &mesh, proxy);
        let resolver = context.resolver.clone();
        let names = followed(&compiled.clusters);
        compiled.clusters.resolve(|name| resolver.known(name));
        let listeners = match role {
            Role::Sidecar => None,
            Role::Gateway => Some(GatewayListeners::compile(&documents, workload, &mesh)),
        };
        let known = known(previous);
        let destinations = compiled.clusters.iter().map(|(_, cluster)| {
            let before = known.get(&cluster.key).and_then(|(_, before)| *before);
            Destination::of(cluster, before, context.credentials.as_ref())
        });
        let (destinations, unusable): (Vec<_>, Vec<_>) = destinations.partition(Result::is_ok);
        let unusable: Vec<Diagnostic> = unusable
            .into_iter()
            .filter_map(|unusable| unusable.err().map(|finding| *finding))
            .collect();
        if !unusable.is_empty() {
            return Err(diagnostics.into_iter().chain(unusable).collect());
        }
        let destinations = destinations.into_iter().filter_map(Result::ok).collect();
        let authz = PolicySet::compile(&documents, workload, &mesh);
        let mtls = MtlsModes::compile(&documents, workload, &mesh);
        Ok(Self {
            generation: previous.map_or(1, |p| p.generation + 1),
            uses: RuleUses::carry(&authz, previous.map(|p| (&*p.authz, &p.uses))),
            authz: Arc::new(authz),
            tokens: TokenRules::compile(&documents, workload, &mesh),
            mtls,
            providers: Providers::new(
                &mesh.extension_providers,
                &compiled.providers,
                &compiled.clusters,
            ),
            rate_limits: RateLimits::compile(
                &documents,
                workload,
                &mesh,
                previous.map(|p| &p.rate_limits),
            ),
            limit_services: compiled.limit_services.into(),
            live: carry(&compiled.clusters, &known),
            routes: compiled.routes,
            clusters: compiled.clusters,
            listeners,
            warnings: diagnostics,
            documents: documents.len(),
            mesh,
            loaded_at: SystemTime::now(),
            resolver,
            names,
            destinations,
        })
    }

    /// A cluster's live state.
    pub fn live(&self, cluster: ClusterIndex) -> Option<&Arc<Live>> {
        self.live.get(cluster.position())
    }

    /// Istio's name of a cluster, `outbound|8080|v1|host`, for logs.
    pub fn cluster_name(&self, cluster: ClusterIndex) -> Option<&Arc<str>> {
        self.destination(cluster).map(|d| &d.name)
    }

    pub(crate) fn destination(&self, cluster: ClusterIndex) -> Option<&Destination> {
        self.destinations.get(cluster.position())
    }
}

/// The names whose every address is an endpoint.
fn followed(clusters: &ClusterSet) -> Box<[Arc<str>]> {
    let all = clusters.iter().map(|(_, cluster)| cluster);
    let balanced = all.filter(|cluster| cluster.resolution == Resolution::Dns);
    balanced
        .flat_map(|cluster| cluster.names().cloned())
        .collect()
}

/// What the generation before knew of each cluster.
type Known<'a> = HashMap<&'a ClusterKey, (Option<&'a Arc<Live>>, Option<&'a Destination>)>;

fn known(previous: Option<&Snapshot>) -> Known<'_> {
    let clusters = previous.map(|previous| {
        let clusters = previous.clusters.iter();
        clusters.map(|(index, cluster)| {
            let known = (previous.live(index), previous.destination(index));
            (&cluster.key, known)
        })
    });
    clusters.into_iter().flatten().collect()
}

/// What is known about the endpoints of a cluster key lives on, so that a reload starts nothing anew.
fn carry(clusters: &ClusterSet, known: &Known<'_>) -> Box<[Arc<Live>]> {
    let now = clock::now();
    let carried = clusters.iter().map(|(_, cluster)| {
        let before = known.get(&cluster.key).and_then(|(live, _)| *live);
        let live = Live::new(cluster, before.map(|live| &**live), now);
        live.observe(breakers::observer());
        Arc::new(live)
    });
    carried.collect()
}

#[cfg(test)]
mod tests;
