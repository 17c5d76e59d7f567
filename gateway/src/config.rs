//! The process file of the gateway, as written and as used.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dataplane::config::{
    AuthorizationConfig, JwksConfig, LocalityConfig, OverloadConfig, PathConfig,
};
use dataplane::decisions::{DecisionsConfig, DecisionsConfigError};
use dataplane::forward::RetryConfig;
use dataplane::registry::RegistryConfig;
use dataplane::sizes::SizeLimits;
use identity::{SpiffeId, TrustDomain};
use runtime::config::{ConfigDocument, ConfigError, resolve};
use runtime::duration;
use runtime::listen::TakenPorts;
use runtime::log::LogConfig;
use serde::Deserialize;
use thiserror::Error;

/// `kind: GatewayConfig`, as it stands in the file. Relative paths are relative to the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// Which workload the gateway is.
    #[serde(default)]
    pub workload: WorkloadConfig,
    /// Where its certificate comes from.
    pub identity: IdentitySection,
    /// The enrolment key, the port map.
    pub state_dir: PathBuf,
    /// Files and directories of documents.
    pub policies: Vec<PathBuf>,
    /// The mesh's registry, if there is one.
    #[serde(default)]
    pub registry: Option<RegistryConfig>,
    /// The namespace of documents without one.
    pub default_namespace: String,
    /// The namespace whose policies hold everywhere.
    #[serde(default = "root_namespace")]
    pub root_namespace: String,
    /// Where each port that `Gateway` documents name is really listened on.
    pub listeners: BTreeMap<u16, SocketAddr>,
    /// A directory per `credentialName`, with `tls.crt`, `tls.key` and `ca.crt`.
    #[serde(default)]
    pub credentials: Option<PathBuf>,
    /// What stands in for credentials that nobody provided.
    #[serde(default)]
    pub edge: EdgeConfig,
    /// The operators' port.
    #[serde(default)]
    pub admin: Option<SocketAddr>,
    /// What to do about a port that is taken.
    #[serde(default)]
    pub taken_ports: TakenPorts,
    /// The end of the process.
    #[serde(default)]
    pub drain: DrainConfig,
    /// How much strangers may take at once.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is kept of requests that may have to be sent again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// How many requests are under way at once.
    #[serde(default)]
    pub overload: Option<OverloadConfig>,
    /// What clients may take their time over.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// The process's own log.
    #[serde(default)]
    pub log: LogConfig,
    /// The log of requests.
    #[serde(default)]
    pub access_log: AccessLogConfig,
    /// Whether denials are enforced.
    #[serde(default)]
    pub authorization: AuthorizationConfig,
    /// What is remembered of decisions.
    #[serde(default)]
    pub decisions: DecisionsConfig,
    /// How the keys of token issuers are fetched.
    #[serde(default)]
    pub jwks: JwksConfig,
    /// Which form of a path goes on.
    #[serde(default)]
    pub path: PathConfig,
    /// What stands in front of the gateway.
    #[serde(default)]
    pub gateway_topology: GatewayTopologyConfig,
    /// Threads that serve; by default one for each processor.
    #[serde(default)]
    pub threads: Option<u16>,
}

impl ConfigDocument for GatewayConfig {
    const KIND: &'static str = "GatewayConfig";
}

/// The workload that the gateway is; the default fits Istio's selectors.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkloadConfig {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Service account.
    pub service_account: String,
    /// Labels that selectors match.
    pub labels: BTreeMap<String, String>,
    /// `region/zone/subzone`; becomes a label.
    pub locality: Option<LocalityConfig>,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            name: "istio-ingressgateway".to_owned(),
            namespace: "istio-system".to_owned(),
            service_account: "istio-ingressgateway".to_owned(),
            labels: BTreeMap::from([
                label("app", "istio-ingressgateway"),
                label("istio", "ingressgateway"),
            ]),
            locality: None,
        }
    }
}

/// `identity`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentitySection {
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// `https://host:port` of the CA.
    pub ca: String,
    /// A file with a join token, for the first start.
    #[serde(default)]
    pub join_token: Option<PathBuf>,
    /// Lifetime to ask for.
    #[serde(default, deserialize_with = "duration::deserialize_option")]
    pub ttl: Option<Duration>,
}

/// `edge`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EdgeConfig {
    /// The mesh's CA issues certificates for credentials that are missing; for a laptop.
    pub self_signed: bool,
}

/// `gatewayTopology`, by Istio's name.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GatewayTopologyConfig {
    /// How many proxies in front are believed: so many entries of `x-forwarded-for`, from the right, are theirs and
    /// the client's.
    pub num_trusted_proxies: u8,
}

/// `drain`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainConfig {
    /// How long requests under way get to finish.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

/// `limits`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Client connections open at once, of all listeners together; never more than half of the descriptors that the
    /// system grants, because the way to the applications costs some too.
    pub connections: u32,
    /// The longest body of a request, in bytes.
    pub request_bytes: Option<u64>,
    /// The longest body of a response, in bytes.
    pub response_bytes: Option<u64>,
}

impl LimitsConfig {
    /// Those of bodies.
    pub(crate) const fn sizes(&self) -> SizeLimits {
        SizeLimits {
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: 50_000,
            request_bytes: None,
            response_bytes: None,
        }
    }
}

/// `timeouts`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// From accept to the end of the TLS handshake, or to the first byte in plain text.
    #[serde(deserialize_with = "duration::deserialize")]
    pub handshake: Duration,
    /// From the first byte of a request head to its last.
    #[serde(deserialize_with = "duration::deserialize")]
    pub request_head: Duration,
    /// Between two requests of a connection.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle: Duration,
    /// Between two reads or two writes of a body, towards clients and towards the mesh.
    #[serde(deserialize_with = "duration::deserialize")]
    pub stream_idle: Duration,
    /// How long a TCP connection may stay open without a byte.
    #[serde(deserialize_with = "duration::deserialize")]
    pub tcp_idle: Duration,
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stream_idle: Duration::from_mins(5),
            tcp_idle: Duration::from_hours(1),
        }
    }
}

/// `accessLog`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// `-` for standard output, or a file; off when absent.
    pub path: Option<PathBuf>,
}

/// What a well-formed file can still get wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GatewayConfigError {
    /// The file does not parse.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// `identity.trustDomain`.
    #[error("`identity.trustDomain` is not a trust domain")]
    TrustDomain(#[source] identity::SpiffeIdError),
    /// `workload.namespace` and `workload.serviceAccount`.
    #[error("`workload` does not make a SPIFFE ID")]
    Workload(#[source] identity::SpiffeIdError),
    /// `decisions`.
    #[error(transparent)]
    Decisions(#[from] DecisionsConfigError),
    /// `registry.register` is for workloads.
    #[error("`registry.register` is for sidecars: a gateway is no endpoint of a service")]
    Registers,
    /// A key has a value out of its range.
    #[error("`{key}` must not be {found}: {help}")]
    Range {
        /// The key.
        key: &'static str,
        /// What was found.
        found: &'static str,
        /// What to do.
        help: &'static str,
    },
}

impl GatewayConfig {
    /// Reads `path`, applies `overrides`, checks what belongs together and makes every path absolute to the file.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, GatewayConfigError> {
        let mut config: Self = runtime::config::load(path, overrides)?;
        config.check()?;
        let workload = &mut config.workload;
        workload
            .labels
            .extend(workload.locality.as_ref().map(LocalityConfig::label));
        config.state_dir = resolve(path, &config.state_dir);
        for policies in &mut config.policies {
            *policies = resolve(path, policies);
        }
        for file in [
            &mut config.credentials,
            &mut config.identity.join_token,
            &mut config.jwks.ca_file,
        ] {
            *file = file.as_deref().map(|file| resolve(path, file));
        }
        config.decisions = config.decisions.resolve(path)?;
        if let Some(log) = &mut config.access_log.path
            && log.as_os_str() != "-"
        {
            *log = resolve(path, log);
        }
        Ok(config)
    }

    /// The mesh's trust domain.
    pub fn trust_domain(&self) -> Result<TrustDomain, GatewayConfigError> {
        TrustDomain::parse(&self.identity.trust_domain).map_err(GatewayConfigError::TrustDomain)
    }

    /// The identity that the gateway asks for.
    pub fn spiffe_id(&self) -> Result<SpiffeId, GatewayConfigError> {
        let workload = &self.workload;
        SpiffeId::for_workload(
            &self.trust_domain()?,
            &workload.namespace,
            &workload.service_account,
        )
        .map_err(GatewayConfigError::Workload)
    }

    fn check(&self) -> Result<(), GatewayConfigError> {
        self.spiffe_id()?;
        let empty = |key, help| {
            Err(GatewayConfigError::Range {
                key,
                found: "empty",
                help,
            })
        };
        if self
            .registry
            .as_ref()
            .is_some_and(|registry| registry.register.is_some())
        {
            return Err(GatewayConfigError::Registers);
        }
        if self.listeners.is_empty() {
            return empty(
                "listeners",
                "map at least one port of a Gateway to an address",
            );
        }
        if self.policies.is_empty() {
            return empty("policies", "name the files or directories of the documents");
        }
        if self.limits.connections == 0 {
            return Err(GatewayConfigError::Range {
                key: "limits.connections",
                found: "zero",
                help: "leave it out for the default",
            });
        }
        if self
            .overload
            .is_some_and(|overload| overload.concurrency == 0)
        {
            return Err(GatewayConfigError::Range {
                key: "overload.concurrency",
                found: "zero",
                help: "leave `overload` out to let every request in at once",
            });
        }
        let timeouts = &self.timeouts;
        for (key, value) in [
            ("timeouts.handshake", timeouts.handshake),
            ("timeouts.requestHead", timeouts.request_head),
            ("timeouts.idle", timeouts.idle),
            ("timeouts.streamIdle", timeouts.stream_idle),
            ("timeouts.tcpIdle", timeouts.tcp_idle),
        ] {
            if value.is_zero() {
                let help = "leave it out for the default";
                return Err(GatewayConfigError::Range {
                    key,
                    found: "zero",
                    help,
                });
            }
        }
        if self.threads == Some(0) {
            let help = "leave it out for one thread for each processor";
            return Err(GatewayConfigError::Range {
                key: "threads",
                found: "zero",
                help,
            });
        }
        Ok(())
    }
}

fn root_namespace() -> String {
    "istio-system".to_owned()
}

#[cfg(test)]
mod tests;
