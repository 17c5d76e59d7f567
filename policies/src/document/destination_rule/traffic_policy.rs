//! Istio's `TrafficPolicy`, of a rule, a subset or a port.

use super::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocolVersion, RetryBudget,
    Tunnel,
};
use crate::decode::{Cursor, Decode, Fields};
use crate::diagnostic::codes;
use crate::document::Spanned;
use crate::document::virtual_service::PortNumber;

/// Istio's `TrafficPolicy`.
#[derive(Clone, Debug, Default)]
pub struct TrafficPolicy {
    /// `tls`.
    pub tls: Option<Box<Spanned<ClientTls>>>,
    /// `connectionPool`.
    pub connection_pool: Option<Box<Spanned<ConnectionPool>>>,
    /// `loadBalancer`.
    pub load_balancer: Option<Box<Spanned<LoadBalancer>>>,
    /// `outlierDetection`.
    pub outlier_detection: Option<Box<Spanned<OutlierDetection>>>,
    /// `portLevelSettings`: replace everything above for one port.
    pub port_level: Box<[PortTrafficPolicy]>,
    /// `tunnel`; not in force.
    pub tunnel: Option<Box<Spanned<Tunnel>>>,
    /// `proxyProtocol.version`; not in force.
    pub proxy_protocol: Option<Box<Spanned<ProxyProtocolVersion>>>,
    /// `retryBudget`.
    pub retry_budget: Option<Box<Spanned<RetryBudget>>>,
}

impl TrafficPolicy {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        let Self {
            tls,
            connection_pool,
            load_balancer,
            outlier_detection,
            port_level,
            tunnel,
            proxy_protocol,
            retry_budget,
        } = self;
        tls.is_none()
            && connection_pool.is_none()
            && load_balancer.is_none()
            && outlier_detection.is_none()
            && port_level.is_empty()
            && tunnel.is_none()
            && proxy_protocol.is_none()
            && retry_budget.is_none()
    }
}

/// Istio's `TrafficPolicy.PortTrafficPolicy`.
#[derive(Clone, Debug)]
pub struct PortTrafficPolicy {
    /// `port.number`: a port of the service.
    pub port: Spanned<u16>,
    /// `tls`.
    pub tls: Option<Box<Spanned<ClientTls>>>,
    /// `connectionPool`.
    pub connection_pool: Option<Box<Spanned<ConnectionPool>>>,
    /// `loadBalancer`.
    pub load_balancer: Option<Box<Spanned<LoadBalancer>>>,
    /// `outlierDetection`.
    pub outlier_detection: Option<Box<Spanned<OutlierDetection>>>,
}

impl Decode for TrafficPolicy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let policy = Self {
                tls: f.optional("tls"),
                connection_pool: f.optional("connectionPool"),
                load_balancer: f.optional("loadBalancer"),
                outlier_detection: f.optional("outlierDetection"),
                port_level: f.list("portLevelSettings").into(),
                tunnel: f.later(
                    "tunnel",
                    codes::TUNNEL_NOT_IN_FORCE,
                    "connections are not tunnelled",
                ),
                proxy_protocol: f.later(
                    "proxyProtocol",
                    codes::PROXY_PROTOCOL_NOT_IN_FORCE,
                    "no PROXY protocol header is sent",
                ),
                retry_budget: f.optional("retryBudget"),
            };
            f.exclusive(&["tunnel", "proxyProtocol"]);
            f.any_of(&[
                "tls",
                "connectionPool",
                "loadBalancer",
                "outlierDetection",
                "portLevelSettings",
                "tunnel",
                "proxyProtocol",
                "retryBudget",
            ]);
            check_failover(f, policy.load_balancer.as_deref());
            Some(policy)
        })
    }
}

/// Without outlier detection nothing tells that a locality fails.
fn check_failover(f: &Fields<'_>, load_balancer: Option<&Spanned<LoadBalancer>>) {
    let locality = load_balancer.and_then(|balancer| balancer.locality.as_ref());
    let fails_over = locality.is_some_and(|locality| {
        !locality.failover.is_empty() || !locality.failover_priority.is_empty()
    });
    if fails_over && !f.has("outlierDetection") {
        let message = "failover without `outlierDetection` never happens";
        let help = "add `outlierDetection`";
        let code = codes::FIELD_WITHOUT_EFFECT;
        f.warn_at("loadBalancer", code, message, Some(help));
    }
}

impl Decode for PortTrafficPolicy {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let port = f.required::<PortNumber>("port");
            let tls = f.optional("tls");
            let connection_pool = f.optional("connectionPool");
            let load_balancer: Option<Box<Spanned<LoadBalancer>>> = f.optional("loadBalancer");
            let outlier_detection = f.optional("outlierDetection");
            f.any_of(&["tls", "connectionPool", "loadBalancer", "outlierDetection"]);
            check_failover(f, load_balancer.as_deref());
            let PortNumber(port) = port?;
            Some(Self {
                port,
                tls,
                connection_pool,
                load_balancer,
                outlier_detection,
            })
        })
    }
}
