//! Sidecar (`networking.istio.io`): what a workload's proxy takes in and may reach.

mod schema;

use super::{ConnectionPool, Destination, LabelSelector, Meta, Protocol, ServerTls, Spanned};
use crate::diagnostic::DocPath;
use crate::source::Location;

/// Istio's Sidecar.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// What it is called.
    pub meta: Meta,
    /// `spec.workloadSelector`; without one it holds for the whole namespace.
    pub workload_selector: Option<LabelSelector>,
    /// `spec.ingress`: what is taken in.
    pub ingress: Vec<IngressListener>,
    /// `spec.egress`: what may be reached.
    pub egress: Vec<EgressListener>,
    /// `spec.inboundConnectionPool`: limits of what is taken in.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// `spec.outboundTrafficPolicy`.
    pub outbound_traffic_policy: Option<SidecarOutboundTrafficPolicy>,
}

/// Istio's `IstioIngressListener`.
#[derive(Clone, Debug)]
pub struct IngressListener {
    /// `port`.
    pub port: SidecarPort,
    /// `bind`: an IP address.
    pub bind: Option<String>,
    /// `captureMode`.
    pub capture_mode: CaptureMode,
    /// `defaultEndpoint`: where the application listens.
    pub default_endpoint: Option<Spanned<String>>,
    /// `tls`: TLS that clients outside the mesh speak.
    pub tls: Option<ServerTls>,
    /// `connectionPool`: limits of this port.
    pub connection_pool: Option<ConnectionPool>,
}

/// Istio's `IstioEgressListener`.
#[derive(Clone, Debug)]
pub struct EgressListener {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `port`; without one the ports are those of the hosts.
    pub port: Option<SidecarPort>,
    /// `bind`: an IP address or a Unix socket.
    pub bind: Option<Spanned<String>>,
    /// `captureMode`.
    pub capture_mode: CaptureMode,
    /// `hosts`: `namespace/host`.
    pub hosts: Vec<Spanned<EgressHost>>,
}

/// Istio's `SidecarPort`.
#[derive(Clone, Debug, PartialEq)]
pub struct SidecarPort {
    /// `number`; 0 for a Unix socket.
    pub number: Spanned<u16>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `name`.
    pub name: Option<String>,
}

/// One of `egress[].hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressHost {
    /// Before the slash: a namespace, `*` any, `.` the document's own, `~` none.
    pub namespace: String,
    /// After it: a host, `*.suffix` or `*`.
    pub host: String,
}

/// How connections come to a listener; nothing is captured here, applications use the outbound port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureMode {
    /// `DEFAULT`.
    #[default]
    Default,
    /// `IPTABLES`.
    Iptables,
    /// `NONE`.
    None,
}

/// Istio's `OutboundTrafficPolicy`.
#[derive(Clone, Debug)]
pub struct SidecarOutboundTrafficPolicy {
    /// `mode`.
    pub mode: OutboundTrafficMode,
    /// `egressProxy`: unknown hosts are reached through it.
    pub egress_proxy: Option<Destination>,
}

/// What happens to a call of a host that no document declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutboundTrafficMode {
    /// `REGISTRY_ONLY`: refused.
    #[default]
    RegistryOnly,
    /// `ALLOW_ANY`: let through.
    AllowAny,
}
