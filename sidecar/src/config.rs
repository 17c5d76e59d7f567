//! The sidecar's process file (`kind: SidecarConfig`), as written and as used.

mod ports;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use dataplane::config::{
    AuthorizationConfig, JwksConfig, LocalityConfig, OverloadConfig, PathConfig,
};
use dataplane::decisions::DecisionsConfig;
use dataplane::forward::RetryConfig;
use dataplane::registry::RegistryConfig;
use dataplane::sizes::SizeLimits;
use dataplane::telemetry::LogTarget;
use identity::keeper::IdentityConfig;
use identity::{SpiffeId, TrustDomain};
use policies::mesh::{Mesh, PathNormalization};
use policies::workload::Workload;
use runtime::config::{ConfigDocument, resolve};
use runtime::listen::TakenPorts;
use runtime::log::LogConfig;
use serde::Deserialize;

pub(crate) use ports::{AppProtocol, DaprPorts, Inbound, Probe, Upstream};

/// What a running sidecar needs to know, checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workload: Workload,
    pub(crate) mesh: Mesh,
    /// The identity of [`Self::workload`].
    pub(crate) id: SpiffeId,
    pub(crate) identity: IdentityConfig,
    pub(crate) state_dir: PathBuf,
    pub(crate) policies: Vec<PathBuf>,
    pub(crate) registry: Option<RegistryConfig>,
    pub(crate) inbound: Vec<Inbound>,
    pub(crate) outbound: Option<SocketAddr>,
    pub(crate) upstreams: Vec<Upstream>,
    /// Where the application finds Dapr's API.
    pub(crate) dapr: DaprPorts,
    pub(crate) probe: Option<Probe>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) taken_ports: TakenPorts,
    pub(crate) drain_timeout: Duration,
    pub(crate) log: LogConfig,
    pub(crate) access_log: LogTarget,
    pub(crate) authorization: AuthorizationConfig,
    pub(crate) decisions: DecisionsConfig,
    pub(crate) jwks: JwksConfig,
    pub(crate) path: PathConfig,
    /// Whether the admin port takes chaos scenarios.
    pub(crate) chaos: Allow,
    pub(crate) limits: Limits,
    pub(crate) overload: Option<OverloadConfig>,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetryConfig,
    /// Peers whose `x-forwarded-for` and `x-forwarded-client-cert` are believed.
    pub(crate) gateways: Vec<SpiffeId>,
}

/// Whether something that is off by default may be done; `true` or `false` in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "bool")]
pub(crate) enum Allow {
    Yes,
    #[default]
    No,
}

impl From<bool> for Allow {
    fn from(allowed: bool) -> Self {
        if allowed { Self::Yes } else { Self::No }
    }
}

/// Bounds on what strangers may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Open connections of all inbound listeners together, and again of the outbound listener.
    pub(crate) connections: usize,
    /// The longest request head, in bytes (8 KiB to 1 MiB).
    pub(crate) header_bytes: usize,
    /// The longest body of a request to the application, in bytes.
    pub(crate) request_bytes: Option<u64>,
    /// The longest body of a response of the application, in bytes.
    pub(crate) response_bytes: Option<u64>,
}

impl Limits {
    /// Those of bodies.
    pub(crate) const fn sizes(&self) -> SizeLimits {
        SizeLimits {
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

/// How long strangers may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Timeouts {
    /// The longest TLS handshake, and the longest wait for the first byte.
    #[serde(with = "runtime::duration")]
    pub(crate) handshake: Duration,
    /// From the first byte of a request head to its last.
    #[serde(with = "runtime::duration")]
    pub(crate) request_head: Duration,
    /// How long a connection may stay open without a request.
    #[serde(with = "runtime::duration")]
    pub(crate) idle: Duration,
    /// How long a TCP connection may stay open without a byte.
    #[serde(with = "runtime::duration")]
    pub(crate) tcp_idle: Duration,
    /// How long an HTTP exchange may go without a byte in either direction; none is no limit, as in Istio.
    #[serde(deserialize_with = "runtime::duration::deserialize_option")]
    pub(crate) stream_idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(10),
            idle: Duration::from_mins(5),
            tcp_idle: Duration::from_hours(1),
            stream_idle: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            header_bytes: 64 * 1024,
            request_bytes: None,
            response_bytes: None,
        }
    }
}

/// The file as people write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfig {
    workload: RawWorkload,
    identity: RawIdentity,
    state_dir: PathBuf,
    policies: Vec<PathBuf>,
    registry: Option<RegistryConfig>,
    default_namespace: Option<String>,
    #[serde(default = "root_namespace")]
    root_namespace: String,
    #[serde(default)]
    trust_domain_aliases: Vec<String>,
    #[serde(default)]
    path_normalization: RawNormalization,
    #[serde(default)]
    inbound: Vec<Inbound>,
    outbound: Option<RawOutbound>,
    #[serde(default)]
    upstreams: Vec<Upstream>,
    #[serde(default)]
    dapr: DaprPorts,
    probe: Option<Probe>,
    admin: Option<SocketAddr>,
    #[serde(default)]
    taken_ports: TakenPorts,
    #[serde(default)]
    drain: RawDrain,
    #[serde(default)]
    log: LogConfig,
    #[serde(default)]
    access_log: RawAccessLog,
    #[serde(default)]
    authorization: AuthorizationConfig,
    #[serde(default)]
    decisions: DecisionsConfig,
    #[serde(default)]
    jwks: JwksConfig,
    #[serde(default)]
    path: PathConfig,
    #[serde(default)]
    chaos: Allow,
    #[serde(default)]
    limits: Limits,
    overload: Option<OverloadConfig>,
    #[serde(default)]
    timeouts: Timeouts,
    #[serde(default)]
    retry: RetryConfig,
    gateways: Option<Vec<String>>,
}

impl ConfigDocument for RawConfig {
    const KIND: &'static str = "SidecarConfig";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawWorkload {
    name: String,
    namespace: String,
    service_account: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    locality: Option<LocalityConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawIdentity {
    trust_domain: String,
    ca: String,
    join_token: Option<PathBuf>,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    ttl: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbound {
    listen: SocketAddr,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDrain {
    #[serde(with = "runtime::duration")]
    timeout: Duration,
}

impl Default for RawDrain {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAccessLog {
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum RawNormalization {
    #[serde(rename = "NONE")]
    None,
    #[default]
    #[serde(rename = "BASE", alias = "DEFAULT")]
    Base,
    #[serde(rename = "MERGE_SLASHES")]
    MergeSlashes,
    #[serde(rename = "DECODE_AND_MERGE_SLASHES")]
    DecodeAndMergeSlashes,
}

impl From<RawNormalization> for PathNormalization {
    fn from(raw: RawNormalization) -> Self {
        match raw {
            RawNormalization::None => Self::None,
            RawNormalization::Base => Self::Base,
            RawNormalization::MergeSlashes => Self::MergeSlashes,
            RawNormalization::DecodeAndMergeSlashes => Self::DecodeAndMergeSlashes,
        }
    }
}

fn root_namespace() -> String {
    "istio-system".to_owned()
}

impl Config {
    /// Reads and checks the process file.
    pub(crate) fn load(path: &Path, overrides: &[String]) -> anyhow::Result<Self> {
        let raw: RawConfig = runtime::config::load(path, overrides)?;
        Self::checked(path, raw).with_context(|| format!("configuration `{}`", path.display()))
    }

    /// The port of the application that health probes look at.
    pub(crate) fn probed(&self) -> Option<&Inbound> {
        ports::probed(&self.inbound, self.probe.as_ref())
    }

    fn checked(path: &Path, raw: RawConfig) -> anyhow::Result<Self> {
        let trust_domain = TrustDomain::parse(&raw.identity.trust_domain)?;
        let mut labels = raw.workload.labels;
        labels.extend(raw.workload.locality.as_ref().map(LocalityConfig::label));
        let workload = Workload {
            name: raw.workload.name,
            namespace: raw.workload.namespace,
            service_account: raw.workload.service_account,
            labels,
        };
        let id = SpiffeId::for_workload(
            &trust_domain,
            &workload.namespace,
            &workload.service_account,
        )
        .context("`workload` does not make an identity")?;
        let gateways = match raw.gateways {
            Some(gateways) => gateways
                .iter()
                .map(|gateway| {
                    SpiffeId::parse(gateway).with_context(|| format!("`gateways`: `{gateway}`"))
                })
                .collect::<anyhow::Result<_>>()?,
            None => vec![SpiffeId::for_workload(
                &trust_domain,
                &raw.root_namespace,
                "istio-ingressgateway",
            )?],
        };
        ports::check(&raw.inbound, &raw.upstreams, raw.probe.as_ref())?;
        if let Some(registry) = &raw.registry {
            crate::registration::check(registry, &raw.inbound)?;
        }
        anyhow::ensure!(
            (8 * 1024..=1024 * 1024).contains(&raw.limits.header_bytes),
            "`limits.headerBytes` is `{}`, expected 8192 to 1048576",
            raw.limits.header_bytes
        );
        anyhow::ensure!(
            raw.limits.connections > 0,
            "`limits.connections` must be at least 1"
        );
        anyhow::ensure!(
            raw.overload.is_none_or(|overload| overload.concurrency > 0),
            "`overload.concurrency` must be at least 1"
        );
        let timeouts = &raw.timeouts;
        let shortest = timeouts
            .handshake
            .min(timeouts.request_head)
            .min(timeouts.idle)
            .min(timeouts.tcp_idle)
            .min(timeouts.stream_idle.unwrap_or(timeouts.tcp_idle));
        anyhow::ensure!(
            shortest >= Duration::from_millis(100),
            "`timeouts`: `{shortest:?}` is too short, expected at least `100ms`"
        );
        let state_dir = resolve(path, &raw.state_dir);
        Ok(Self {
            mesh: Mesh {
                trust_domain: raw.identity.trust_domain,
                trust_domain_aliases: raw.trust_domain_aliases,
                root_namespace: raw.root_namespace,
                default_namespace: raw
                    .default_namespace
                    .unwrap_or_else(|| workload.namespace.clone()),
                path_normalization: raw.path_normalization.into(),
                ..Mesh::default()
            },
            identity: IdentityConfig {
                trust_domain,
                ca: raw.identity.ca,
                join_token: raw.identity.join_token.map(|token| resolve(path, &token)),
                state_dir: state_dir.clone(),
                spiffe_id: Some(id.clone()),
                ttl: raw.identity.ttl,
            },
            id,
            workload,
            state_dir,
            policies: raw
                .policies
                .iter()
                .map(|policies| resolve(path, policies))
                .collect(),
            registry: raw.registry,
            inbound: raw.inbound,
            outbound: raw.outbound.map(|outbound| outbound.listen),
            upstreams: raw.upstreams,
            dapr: raw.dapr,
            probe: raw.probe,
            admin: raw.admin,
            taken_ports: raw.taken_ports,
            drain_timeout: raw.drain.timeout,
            log: raw.log,
            access_log: match raw.access_log.path {
                Some(file) if file.as_os_str() != "-" => LogTarget::File(resolve(path, &file)),
                path => LogTarget::from_path(path),
            },
            authorization: raw.authorization,
            decisions: raw.decisions.resolve(path)?,
            jwks: JwksConfig {
                ca_file: raw.jwks.ca_file.map(|file| resolve(path, &file)),
                ..raw.jwks
            },
            path: raw.path,
            chaos: raw.chaos,
            limits: raw.limits,
            overload: raw.overload,
            timeouts: raw.timeouts,
            retry: raw.retry,
            gateways,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
apiVersion: portcullis.dev/v1
kind: SidecarConfig
workload: {name: order-service-v1, namespace: my-app, serviceAccount: order-service, labels: {app: order-service, version: v1}}
identity: {trustDomain: cluster.local, ca: "https://127.0.0.1:15012", joinToken: ./join.token}
stateDir: ./state
policies: [./policies]
defaultNamespace: my-app
inbound: [{port: 8080, protocol: http, listen: "127.0.0.1:15006", app: "127.0.0.1:9080"}]
outbound: {listen: "127.0.0.1:15001"}
probe: {listen: "127.0.0.1:15021"}
admin: "127.0.0.1:15000"
takenPorts: free
drain: {timeout: 5s}
log: {format: text, level: debug}
accessLog: {path: "-"}
"#;

    fn load(text: &str, overrides: &[&str]) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.yaml");
        std::fs::write(&path, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        Config::load(&path, &overrides).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_documented_file_loads() {
        let config = load(FILE, &[]).unwrap();
        assert_eq!(
            config.id.as_str(),
            "spiffe://cluster.local/ns/my-app/sa/order-service"
        );
        assert_eq!(config.drain_timeout, Duration::from_secs(5));
        assert!(config.state_dir.is_absolute());
        assert!(config.identity.join_token.unwrap().ends_with("join.token"));
        assert_eq!(config.access_log, LogTarget::Stdout);
        let placed = load(FILE, &["workload.locality=eu/west"]).unwrap();
        let label = &placed.workload.labels["topology.istio.io/locality"];
        assert_eq!(label, "eu/west");
        assert_eq!(
            config.gateways[0].as_str(),
            "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (overrides, message) in [
            (
                vec![
                    "inbound=[{port: 1, listen: \"127.0.0.1:0\", app: \"127.0.0.1:1\"}, {port: 1, listen: \"127.0.0.1:0\", app: \"127.0.0.1:1\"}]",
                ],
                "port `1` stands twice",
            ),
            (vec!["workload.namespace=My App"], "workload"),
            (vec!["workload.locality=eu//a"], "region/zone/subzone"),
            (vec!["limits.headerBytes=10"], "headerBytes"),
            (vec!["overload={concurrency: 0}"], "overload.concurrency"),
            (vec!["outbund={}"], "outbund"),
            (vec!["drain.timeout=5"], "not a duration"),
            (vec!["timeouts.idle=0s"], "timeouts"),
            (vec!["timeouts.tcpIdle=0s"], "timeouts"),
            (vec!["timeouts.streamIdle=1ms"], "timeouts"),
            (vec!["retry.bufferBytes=99999999"], "at most 16777216"),
            (
                vec![
                    "upstreams=[{service: db, port: 1, listen: \"127.0.0.1:0\"}, {service: DB, port: 1, listen: \"127.0.0.1:0\"}]",
                ],
                "port `1` of `DB` stands twice",
            ),
            (
                vec!["upstreams=[{service: db, port: 1, listen: \"127.0.0.1:0\", protocol: http}]"],
                "protocol",
            ),
            (
                vec![
                    "inbound=[{port: 1, protocol: tcp, listen: \"127.0.0.1:0\", app: \"127.0.0.1:1\"}]",
                    "probe.path=/health",
                ],
                "no port of `inbound` speaks HTTP",
            ),
        ] {
            let error = load(FILE, &overrides).unwrap_err();
            assert!(error.contains(message), "{message}: {error}");
        }
    }
}
