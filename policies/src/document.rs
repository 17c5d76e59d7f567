//! The documents that people write, one file per kind, typed and with the place of everything that later checks need.

mod annotations;
pub mod attachment;
mod authorization_policy;
mod destination_rule;
mod export_to;
mod fallback;
mod gateway;
pub mod health_check;
mod http_route;
mod kind;
mod l4_route;
pub mod mesh_config;
mod meta;
mod namespace;
mod peer_authentication;
pub mod policy_test;
mod probe;
mod proxy_config;
pub mod rate_limit;
mod registration_entry;
mod request_authentication;
mod selector;
mod service_entry;
mod sidecar;
mod spanned;
mod string_match;
mod telemetry;
mod virtual_service;
mod workload_entry;
mod workload_group;

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::bytes::Regex;

pub use annotations::RouteAnnotations;
pub use attachment::Attachment;
pub use authorization_policy::{
    AuthorizationAction, AuthorizationPolicy, Condition, Operation, Rule, Source, TargetRef,
};
pub use destination_rule::{
    ClientTls, ConnectionPool, ConsistentHash, CookieAttribute, DestinationRule, DestinationTls,
    Distribute, Failover, H2Upgrade, HashAlgorithm, HashCookie, HashKey, Http2KeepAlive,
    LoadBalancer, LoadBalancerPolicy, LocalityLoadBalancing, OutlierDetection, PortTrafficPolicy,
    ProxyProtocolVersion, RetryBudget, SimpleLoadBalancer, Subset, TcpKeepalive, TrafficPolicy,
    Tunnel, TunnelProtocol, Warmup, ZoneAwareLoadBalancing,
};
pub use export_to::Visibility;
pub use fallback::{Fallback, FallbackAnswer, FallbackResponse, FallbackWhen};
pub use gateway::{
    Gateway, OtherServerTls, Server, ServerCertificate, ServerPort, ServerTls, ServerTlsMode,
    TlsVersion,
};
pub use health_check::HealthCheck;
pub use http_route::{
    AbortStatus, CorsPolicy, DirectResponse, FaultAbort, FaultDelay, GrpcStatus, HeaderRules,
    Headers, HttpDestination, HttpFault, HttpMatch, HttpRedirect, HttpRetry, HttpRewrite, HttpRule,
    Mirror, RedirectPort, RegexRewrite, RetryOn, UnmatchedPreflights,
};
pub use kind::Kind;
pub use l4_route::{L4Destination, L4Match, L4Rule};
pub use mesh_config::MeshConfig;
pub use mesh_config::provider::{
    ExtAuthz, ExtAuthzHttp, ExtensionProvider, ProviderKind, ProviderService, RequestBodyInCheck,
};
pub use meta::Meta;
pub use namespace::Namespace;
pub use peer_authentication::{PeerAuthentication, PeerAuthenticationMode};
pub use policy_test::PolicyTest;
pub use probe::{ProbeMethod, ReadinessProbe};
pub use proxy_config::ProxyConfig;
pub use rate_limit::RateLimit;
pub use registration_entry::{EntrySelector, RegistrationEntry};
pub use request_authentication::{ClaimToHeader, JwtHeader, JwtRule, RequestAuthentication};
pub use selector::LabelSelector;
pub use service_entry::{MeshLocation, Resolution, ServiceEntry, ServiceEntryPort};
pub use sidecar::{
    CaptureMode, EgressHost, EgressListener, IngressListener, OutboundTrafficMode, Sidecar,
    SidecarOutboundTrafficPolicy, SidecarPort,
};
pub use spanned::Spanned;
pub use string_match::StringMatch;
pub use telemetry::{
    AccessLogging, CustomTag, Metric, Metrics, MetricsOverride, TagOverride, Telemetry, Tracing,
    WorkloadMode,
};
pub use virtual_service::{Destination, VirtualService};
pub use workload_entry::{Locality, WorkloadAddress, WorkloadEntry, WorkloadSpec};
pub use workload_group::WorkloadGroup;

pub use crate::protocol::Protocol;

macro_rules! document_set {
    ($($(#[$doc:meta])* $field:ident: $document:ident,)*) => {
        /// Every document of a set, by kind, in the order of (file, position).
        #[derive(Clone, Debug, Default)]
        pub struct DocumentSet {
            $($(#[$doc])* pub $field: Vec<Arc<$document>>,)*
            /// The regular expressions of the documents.
            pub regexes: Arc<CompiledRegexes>,
        }

        impl DocumentSet {
            /// What every document is called, kind by kind.
            pub fn metas(&self) -> impl Iterator<Item = &Meta> {
                std::iter::empty()$(.chain(self.$field.iter().map(|document| &document.meta)))*
            }

            /// Adds the documents of another set; its regular expressions are added by the loader.
            pub(crate) fn extend(&mut self, other: &Self) {
                $(self.$field.extend_from_slice(&other.$field);)*
            }

            /// How many documents the set holds.
            pub fn len(&self) -> usize {
                0$( + self.$field.len())*
            }
        }
    };
}

document_set! {
    /// Routes.
    virtual_services: VirtualService,
    /// What holds for the traffic to a host.
    destination_rules: DestinationRule,
    /// What gateways listen to.
    gateways: Gateway,
    /// Services.
    service_entries: ServiceEntry,
    /// Workloads behind services.
    workload_entries: WorkloadEntry,
    /// What workloads outside Kubernetes have in common.
    workload_groups: WorkloadGroup,
    /// What a workload's proxy takes in and may reach.
    sidecars: Sidecar,
    /// Settings of proxies themselves.
    proxy_configs: ProxyConfig,
    /// Who may.
    authorization_policies: AuthorizationPolicy,
    /// How strictly peers prove who they are.
    peer_authentications: PeerAuthentication,
    /// Which tokens are accepted.
    request_authentications: RequestAuthentication,
    /// Traces, metrics and access logs.
    telemetries: Telemetry,
    /// What holds for the whole mesh: at most one.
    mesh_configs: MeshConfig,
    /// How many requests are let through.
    rate_limits: RateLimit,
    /// How endpoints are asked whether they are well.
    health_checks: HealthCheck,
    /// What is answered where a service fails.
    fallbacks: Fallback,
    /// Which caller of the CA may have which identity.
    registration_entries: RegistrationEntry,
    /// Tests of policies, which are no policies themselves.
    policy_tests: PolicyTest,
    /// Namespaces and their labels.
    namespaces: Namespace,
}

/// The regular expressions of a set by their text; only loading makes them.
#[derive(Clone, Debug, Default)]
pub struct CompiledRegexes(pub(crate) BTreeMap<Arc<str>, Arc<Regex>>);

impl DocumentSet {
    /// Whether the set holds no document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
