//! The documents that people write, one file per kind, typed and with the place of everything that later checks need.

mod authorization_policy;
mod destination_rule;
mod gateway;
mod http_route;
mod kind;
mod meta;
mod peer_authentication;
mod registration_entry;
mod selector;
mod service_entry;
mod spanned;
mod string_match;
mod virtual_service;
mod workload_entry;

use std::sync::Arc;

pub use authorization_policy::{
    AuthorizationAction, AuthorizationPolicy, Condition, Operation, Rule, Source, TargetRef,
};
pub use destination_rule::{
    ConnectionPool, DestinationRule, DestinationTls, H2Upgrade, LoadBalancer, OutlierDetection,
    SimpleLoadBalancer, Subset, TrafficPolicy,
};
pub use gateway::{Gateway, Server, ServerPort, ServerTls, ServerTlsMode, TlsVersion};
pub use http_route::{
    DirectResponse, HeaderRules, Headers, HttpDestination, HttpFault, HttpMatch, HttpRedirect,
    HttpRetry, HttpRewrite, HttpRule, Mirror, RedirectPort, RegexRewrite,
};
pub use kind::Kind;
pub use meta::Meta;
pub use peer_authentication::{PeerAuthentication, PeerAuthenticationMode};
pub use registration_entry::{EntrySelector, RegistrationEntry};
pub use selector::LabelSelector;
pub use service_entry::{MeshLocation, Resolution, ServiceEntry, ServiceEntryPort};
pub use spanned::Spanned;
pub use string_match::StringMatch;
pub use virtual_service::{Destination, VirtualService};
pub use workload_entry::{WorkloadAddress, WorkloadEntry, WorkloadSpec};

pub use crate::protocol::Protocol;

/// Every document of a set, by kind, in the order of (file, position).
#[derive(Clone, Debug, Default)]
pub struct DocumentSet {
    /// Routes.
    pub virtual_services: Vec<Arc<VirtualService>>,
    /// What holds for the traffic to a host.
    pub destination_rules: Vec<Arc<DestinationRule>>,
    /// What gateways listen to.
    pub gateways: Vec<Arc<Gateway>>,
    /// Services.
    pub service_entries: Vec<Arc<ServiceEntry>>,
    /// Workloads behind services.
    pub workload_entries: Vec<Arc<WorkloadEntry>>,
    /// Who may.
    pub authorization_policies: Vec<Arc<AuthorizationPolicy>>,
    /// How strictly peers prove who they are.
    pub peer_authentications: Vec<Arc<PeerAuthentication>>,
    /// Which caller of the CA may have which identity.
    pub registration_entries: Vec<Arc<RegistrationEntry>>,
}

impl DocumentSet {
    /// How many documents the set holds.
    pub fn len(&self) -> usize {
        self.metas().count()
    }

    /// Whether the set holds no document.
    pub fn is_empty(&self) -> bool {
        self.metas().next().is_none()
    }

    /// What every document is called, kind by kind.
    pub fn metas(&self) -> impl Iterator<Item = &Meta> {
        (self.virtual_services.iter().map(|document| &document.meta))
            .chain(self.destination_rules.iter().map(|document| &document.meta))
            .chain(self.gateways.iter().map(|document| &document.meta))
            .chain(self.service_entries.iter().map(|document| &document.meta))
            .chain(self.workload_entries.iter().map(|document| &document.meta))
            .chain(
                self.authorization_policies
                    .iter()
                    .map(|document| &document.meta),
            )
            .chain(
                self.peer_authentications
                    .iter()
                    .map(|document| &document.meta),
            )
            .chain(
                self.registration_entries
                    .iter()
                    .map(|document| &document.meta),
            )
    }
}
