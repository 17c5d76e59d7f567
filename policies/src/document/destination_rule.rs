//! DestinationRule (`networking.istio.io`): what holds for the traffic to a host.

mod client_tls;
mod connection_pool;
mod load_balancer;
mod locality;
mod outlier_detection;
mod schema;
mod traffic_policy;
mod transport;

use std::collections::BTreeMap;

pub use client_tls::{ClientTls, DestinationTls};
pub use connection_pool::{ConnectionPool, H2Upgrade, Http2KeepAlive, TcpKeepalive};
pub use load_balancer::{
    ConsistentHash, CookieAttribute, HashAlgorithm, HashCookie, HashKey, LoadBalancer,
    LoadBalancerPolicy, SimpleLoadBalancer, Warmup,
};
pub use locality::{Distribute, Failover, LocalityLoadBalancing, ZoneAwareLoadBalancing};
pub use outlier_detection::OutlierDetection;
pub use traffic_policy::{PortTrafficPolicy, TrafficPolicy};
pub use transport::{ProxyProtocolVersion, RetryBudget, Tunnel, TunnelProtocol};

use super::{LabelSelector, Meta, Spanned, Visibility};

/// Istio's DestinationRule.
#[derive(Clone, Debug)]
pub struct DestinationRule {
    /// What it is called.
    pub meta: Meta,
    /// `spec.host`, as written.
    pub host: Spanned<String>,
    /// `spec.trafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// `spec.subsets`.
    pub subsets: Vec<Subset>,
    /// `spec.workloadSelector`: the clients of the rule's namespace that it holds for; every client if not given.
    pub workload_selector: Option<LabelSelector>,
    /// `spec.exportTo`; empty is the mesh's default, which is `*`. It always holds in its own namespace.
    pub export_to: Box<[Spanned<Visibility>]>,
}

/// Istio's `Subset`.
#[derive(Clone, Debug)]
pub struct Subset {
    /// `name`.
    pub name: Spanned<String>,
    /// `labels` that its endpoints have.
    pub labels: BTreeMap<String, String>,
    /// `trafficPolicy`, block by block before the rule's own.
    pub traffic_policy: TrafficPolicy,
}
