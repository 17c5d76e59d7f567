//! MeshConfig (`portcullis.dev`): Istio's mesh-wide settings as a document.

pub mod provider;
pub mod proxy;
mod schema;

pub(crate) use schema::{TrustDomain, namespace};

use std::collections::BTreeMap;
use std::time::Duration;

use self::provider::ExtensionProvider;
use self::proxy::DefaultProxyConfig;
use super::{HttpRetry, LocalityLoadBalancing, Meta, OutboundTrafficMode, Spanned, TcpKeepalive};
use crate::mesh::{DefaultExports, PathNormalization};

/// Istio's `MeshConfig`; a set holds at most one. In force are the trust domain's aliases, the root namespace, the path
/// normalization, the policy for outbound traffic, and who sees documents by default.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// What it is called.
    pub meta: Meta,
    /// `trustDomain`: must be the process's own.
    pub trust_domain: Option<Spanned<String>>,
    /// `trustDomainAliases`: older names that policies may still use.
    pub trust_domain_aliases: Option<Vec<Spanned<String>>>,
    /// `rootNamespace`: whose policies hold everywhere; default `istio-system`.
    pub root_namespace: Option<Spanned<String>>,
    /// `pathNormalization.normalization`.
    pub path_normalization: Option<Spanned<PathNormalization>>,
    /// `extensionProviders`.
    pub extension_providers: Vec<ExtensionProvider>,
    /// `defaultProviders`: used where Telemetry names none.
    pub default_providers: DefaultProviders,
    /// `outboundTrafficPolicy.mode`; Istio's default is ALLOW_ANY, ours REGISTRY_ONLY.
    pub outbound_traffic_policy: Option<OutboundTrafficMode>,
    /// `inboundTrafficPolicy.mode`.
    pub inbound_traffic_policy: Option<InboundTrafficMode>,
    /// `defaultHttpRetryPolicy`: for routes without `retries`.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// `defaultConfig`: settings of proxies.
    pub default_config: Option<DefaultProxyConfig>,
    /// `accessLogFile`, `accessLogFormat`, `accessLogEncoding`.
    pub access_log: MeshAccessLog,
    /// `enableTracing`.
    pub enable_tracing: Option<bool>,
    /// `enableAutoMtls`, default true: mTLS where the other end can, as is done here by service account.
    pub enable_auto_mtls: Option<bool>,
    /// `connectTimeout`, default 10s.
    pub connect_timeout: Option<Duration>,
    /// `protocolDetectionTimeout`, 0 for none.
    pub protocol_detection_timeout: Option<Duration>,
    /// `tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `localityLbSetting`.
    pub locality_lb_setting: Option<LocalityLoadBalancing>,
    /// `dnsRefreshRate`, default 60s.
    pub dns_refresh_rate: Option<Duration>,
    /// `inboundClusterStatName`.
    pub inbound_cluster_stat_name: Option<String>,
    /// `outboundClusterStatName`.
    pub outbound_cluster_stat_name: Option<String>,
    /// `defaultServiceExportTo`, `defaultVirtualServiceExportTo`, `defaultDestinationRuleExportTo`.
    pub default_exports: DefaultExports,
    /// `meshMTLS.minProtocolVersion`, as written; refused unless it is what is in force.
    pub mesh_mtls_min_version: Option<String>,
    /// `serviceSettings[]`: hosts whose endpoints are used within their cluster only.
    pub cluster_local: Vec<String>,
    /// `proxyListenPort`, `proxyInboundListenPort`, `proxyHttpPort`.
    pub proxy_ports: BTreeMap<&'static str, u16>,
}

/// `inboundTrafficPolicy.mode`: where the sidecar finds the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboundTrafficMode {
    /// `PASSTHROUGH`: at the address that the client dialled.
    Passthrough,
    /// `LOCALHOST`.
    Localhost,
}

/// `defaultProviders`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultProviders {
    /// `tracing`.
    pub tracing: Vec<Spanned<String>>,
    /// `metrics`.
    pub metrics: Vec<Spanned<String>>,
    /// `accessLogging`.
    pub access_logging: Vec<Spanned<String>>,
}

/// The access log of every proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshAccessLog {
    /// `accessLogFile`: such as `/dev/stdout`; empty for none.
    pub file: Option<String>,
    /// `accessLogFormat`.
    pub format: Option<String>,
    /// `accessLogEncoding: JSON`.
    pub json: bool,
}
