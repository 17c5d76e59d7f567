//! DestinationRule (`networking.istio.io`): what holds for the traffic to a host.

mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{LabelSelector, Meta, Spanned};

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
    /// `spec.workloadSelector`: the clients that it holds for.
    pub workload_selector: Option<LabelSelector>,
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

/// Istio's `TrafficPolicy`.
#[derive(Clone, Debug, Default)]
pub struct TrafficPolicy {
    /// `tls`.
    pub tls: Option<Spanned<DestinationTls>>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `loadBalancer`; not in force.
    pub load_balancer: Option<Spanned<LoadBalancer>>,
    /// `outlierDetection`; not in force.
    pub outlier_detection: Option<Spanned<OutlierDetection>>,
}

/// `tls.mode` as far as it is in force; the other modes are refused at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationTls {
    /// `DISABLE`: plaintext.
    Disable,
    /// `ISTIO_MUTUAL`: mTLS with the workload's own identity.
    IstioMutual,
}

/// Istio's `ConnectionPoolSettings`; in force: `connect_timeout` and `h2_upgrade`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionPool {
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Duration>,
    /// `tcp.maxConnections`.
    pub max_connections: Option<u32>,
    /// `http.http1MaxPendingRequests`.
    pub max_pending_requests: Option<u32>,
    /// `http.http2MaxRequests`.
    pub max_requests: Option<u32>,
    /// `http.maxRequestsPerConnection`.
    pub max_requests_per_connection: Option<u32>,
    /// `http.maxRetries`.
    pub max_retries: Option<u32>,
    /// `http.idleTimeout`.
    pub idle_timeout: Option<Duration>,
    /// `http.h2UpgradePolicy`.
    pub h2_upgrade: H2Upgrade,
}

/// `http.h2UpgradePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum H2Upgrade {
    /// `DEFAULT`: as the port's protocol says.
    #[default]
    Default,
    /// `DO_NOT_UPGRADE`: HTTP/1.1 stays HTTP/1.1.
    DoNotUpgrade,
    /// `UPGRADE`: HTTP/2 to the endpoints.
    Upgrade,
}

/// Istio's `LoadBalancerSettings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancer {
    /// `simple`.
    Simple(SimpleLoadBalancer),
    /// `consistentHash`.
    ConsistentHash,
    /// Only locality or warm-up settings.
    Default,
}

/// `loadBalancer.simple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimpleLoadBalancer {
    /// `ROUND_ROBIN`: the one in force.
    RoundRobin,
    /// `LEAST_REQUEST`, and its old name `LEAST_CONN`.
    LeastRequest,
    /// `RANDOM`.
    Random,
    /// `PASSTHROUGH`.
    Passthrough,
}

/// Istio's `OutlierDetection`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`, and its old name `consecutiveErrors`.
    pub consecutive_5xx_errors: Option<u32>,
    /// `consecutiveGatewayErrors`.
    pub consecutive_gateway_errors: Option<u32>,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`, 0 to 100.
    pub max_ejection_percent: Option<u32>,
    /// `minHealthPercent`, 0 to 100.
    pub min_health_percent: Option<u32>,
}
