//! The route table of one proxy: which rule answers a request, and what it says.

mod action;
mod claims;
mod compile;
mod cors;
mod delegation;
mod explain;
mod fault;
mod headers;
mod hosts;
mod inspect;
mod matching;
mod mirror;
pub(crate) mod opaque;
mod prefixes;
mod retries;
mod rewrite;
mod rule_list;
mod rules;
mod share;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use action::{DirectResponse, Redirect, RouteAction, WeightedCluster, WeightedClusters};
pub(crate) use claims::ClaimPath;
pub use claims::TokenClaims;
pub(crate) use compile::{
    MESH, Owners, bound_hosts, is_bound_to_mesh, qualified_gateway, server_host,
};
pub use cors::{Cors, CorsVerdict};
pub(crate) use delegation::{Delegates, merge_matches};
pub use explain::{Explanation, Mismatch, Step};
pub use fault::Fault;
pub use headers::{Format, FormatError, HeaderFacts, HeaderOps, HeaderText};
pub use inspect::{HostRoutes, ListedRoute, PortOf};
pub(crate) use matching::{Condition, Text, query_value};
pub use mirror::Mirror;
pub use opaque::{ConnectionView, OpaqueError, OpaqueRoute, OpaqueRules};
pub use rewrite::{PathRewrite, Rewrite};
pub(crate) use rules::{Listener, condition, holds, implied_port};
pub use share::Share;

use crate::cluster::{ClusterIndex, ClusterSet};
use crate::document::{DocumentSet, OutboundTrafficMode};
use crate::host::split_port;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::resilience::{DeadlineScope, RetryPolicy};
use crate::source::Location;
use crate::workload::Workload;

/// The proxy that a table is for.
#[derive(Clone, Copy, Debug)]
pub enum Proxy<'a> {
    /// A gateway: routes bound to the Gateway documents that select its workload.
    Gateway {
        /// Its own workload.
        workload: &'a Workload,
    },
    /// A sidecar: routes bound to `mesh`, and every declared service.
    Sidecar {
        /// The workload that it serves.
        workload: &'a Workload,
    },
}

impl<'a> Proxy<'a> {
    /// The proxy's workload.
    pub fn workload(self) -> &'a Workload {
        match self {
            Self::Gateway { workload } | Self::Sidecar { workload } => workload,
        }
    }
}

/// What routing looks at; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// `:authority` or `Host` in lower case, with the port if the client sent one.
    pub host: &'a str,
    /// The logical port: of the gateway's listener; on a sidecar the port that the host names, else 80.
    pub port: u16,
    /// The canonical path, without query.
    pub path: &'a str,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The request's headers.
    pub headers: &'a http::HeaderMap,
    /// What its verified token says; a sidecar's routes look at none.
    pub claims: Option<&'a dyn TokenClaims>,
}

/// One route: what to do with the requests that it matches.
#[derive(Clone, Debug)]
pub struct HttpRoute {
    /// Its name, for logs.
    pub name: Option<Arc<str>>,
    /// `namespace/name` of its VirtualService; the service's host for default routes.
    pub virtual_service: Arc<str>,
    /// Where it is written; the service's declaration for default routes.
    pub at: Location,
    /// What it does.
    pub action: RouteAction,
    /// The limit for the whole request; none means no limit.
    pub timeout: Option<Duration>,
    /// When its requests are sent again.
    pub retry: RetryPolicy,
    /// Whether the caller's deadline holds for them.
    pub deadline: DeadlineScope,
    /// Path and authority changes before forwarding.
    pub rewrite: Option<Rewrite>,
    /// Changes to the request, before those of the chosen destination.
    pub request_headers: HeaderOps,
    /// Changes to the response, before those of the chosen destination.
    pub response_headers: HeaderOps,
    /// Failures on purpose.
    pub fault: Option<Fault>,
    /// Which pages of other origins may call.
    pub cors: Option<Arc<Cors>>,
    /// Where copies go.
    pub mirrors: Box<[Mirror]>,
}

impl HttpRoute {
    /// A route that does nothing but `action`.
    pub(crate) fn new(virtual_service: Arc<str>, at: Location, action: RouteAction) -> Self {
        Self {
            name: None,
            virtual_service,
            at,
            action,
            timeout: None,
            retry: RetryPolicy::off(),
            deadline: DeadlineScope::default(),
            rewrite: None,
            request_headers: HeaderOps::default(),
            response_headers: HeaderOps::default(),
            fault: None,
            cors: None,
            mirrors: Box::default(),
        }
    }
}

/// Every route of one proxy, compiled.
#[derive(Debug, Default)]
pub struct RouteTable {
    pub(crate) listeners: Box<[(u16, hosts::HostTable)]>,
    /// On a sidecar: hosts without a port.
    pub(crate) portless: hosts::HostTable,
    /// On a sidecar: hosts that are no declared service, on any port.
    pub(crate) anywhere: hosts::HostTable,
    /// Ports whose bytes nobody looks into: on a sidecar those of services, on a gateway its own.
    pub(crate) opaque: opaque::OpaqueTable,
    /// On a sidecar: declared hosts that it does not answer for.
    pub(crate) hidden: HashMap<Box<str>, Hidden>,
    /// On a sidecar: what becomes of hosts that no document declares.
    pub(crate) outbound: OutboundTrafficMode,
    pub(crate) kind: TableKind,
    pub(crate) rules: Box<[Arc<rule_list::RuleList>]>,
}

/// A service that documents declare, and that the workload is not to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its canonical host.
    pub service: Arc<str>,
    /// The Sidecar that does not ask for it, else its declaration, which is not exported here.
    pub by: Location,
}

/// What a sidecar does with a call to a host that has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted<'a> {
    /// Nothing: it knows declared hosts only (`REGISTRY_ONLY`).
    Refused,
    /// Nothing: the host is declared, but the workload does not see it, whatever the policy for other hosts.
    Hidden(&'a Hidden),
    /// It goes on to the host itself, found by DNS (`ALLOW_ANY`).
    Passed,
}

/// How a table reads the port of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// By the listener; a port in the host is ignored.
    #[default]
    Gateway,
    /// By the port in the host.
    Sidecar,
}

/// What [`RouteTable::compile`] makes.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The routes.
    pub routes: RouteTable,
    /// The clusters that they and the providers name.
    pub clusters: ClusterSet,
    /// External authorizers by name (`extensionProviders` of the mesh), and the cluster of each.
    pub providers: Vec<(Arc<str>, ClusterIndex)>,
    /// The services that RateLimits name.
    pub limit_services: Vec<LimitService>,
}

/// A service that decides about rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitService {
    /// The namespace in which its host is meant.
    pub namespace: String,
    /// Its host, as it is written.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where it is.
    pub cluster: ClusterIndex,
}

impl RouteTable {
    /// Compiles the routes and clusters of one proxy from a set in which [`check`](crate::check::check) found no error.
    pub fn compile(
        documents: &DocumentSet,
        registry: &Registry,
        mesh: &Mesh,
        proxy: Proxy<'_>,
    ) -> Compiled {
        compile::compile(documents, registry, mesh, proxy)
    }

    /// The route of a request: by host (exact, longest wildcard, `*`), then the first rule that matches.
    ///
    /// Takes no lock and allocates nothing.
    pub fn find(&self, request: &RequestView<'_>) -> Option<&HttpRoute> {
        hosts::find(self, request)
    }

    /// What a sidecar does with a call to a host that has no route; the host in lower case, with or without port.
    pub fn unrouted(&self, host: &str) -> Unrouted<'_> {
        let (host, _) = split_port(host);
        let known = |table: &hosts::HostTable| table.get(host).is_some();
        let declared =
            || self.listeners.iter().any(|(_, table)| known(table)) || self.opaque.knows(host);
        match (self.hidden.get(host), self.outbound) {
            (Some(hidden), _) => Unrouted::Hidden(hidden),
            (None, OutboundTrafficMode::RegistryOnly) => Unrouted::Refused,
            // A declared service has no other ports than those that are declared.
            (None, OutboundTrafficMode::AllowAny) if declared() => Unrouted::Refused,
            (None, OutboundTrafficMode::AllowAny) => Unrouted::Passed,
        }
    }
}
