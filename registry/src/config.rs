//! The registry's process file (`kind: RegistryConfig`), as written and as used.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use dataplane::registry::config::SERVICE_ACCOUNT;
use identity::keeper::IdentityConfig;
use identity::{SpiffeId, TrustDomain};
use runtime::config::{ConfigDocument, resolve};
use runtime::listen::TakenPorts;
use runtime::log::LogConfig;
use serde::Deserialize;

/// What a running registry needs to know, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) identity: IdentityConfig,
    pub(crate) state_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) taken_ports: TakenPorts,
    pub(crate) lease: Duration,
    pub(crate) connections: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) log: LogConfig,
}

/// The file as people write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfig {
    identity: RawIdentity,
    state_dir: PathBuf,
    /// Where workloads and proxies reach it.
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    #[serde(default)]
    taken_ports: TakenPorts,
    #[serde(default)]
    lease: RawLease,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    drain: RawDrain,
    #[serde(default)]
    log: LogConfig,
}

impl ConfigDocument for RawConfig {
    const KIND: &'static str = "RegistryConfig";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawIdentity {
    trust_domain: String,
    ca: String,
    join_token: Option<PathBuf>,
    #[serde(default = "root_namespace")]
    namespace: String,
    #[serde(default = "service_account")]
    service_account: String,
    #[serde(default, deserialize_with = "runtime::duration::deserialize_option")]
    ttl: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLease {
    #[serde(with = "runtime::duration")]
    timeout: Duration,
}

impl Default for RawLease {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
        }
    }
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
            timeout: Duration::from_secs(2),
        }
    }
}

fn root_namespace() -> String {
    "istio-system".to_owned()
}

fn service_account() -> String {
    SERVICE_ACCOUNT.to_owned()
}

impl Config {
    /// Reads and checks the process file.
    pub(crate) fn load(path: &Path, overrides: &[String]) -> anyhow::Result<Self> {
        let raw: RawConfig = runtime::config::load(path, overrides)?;
        Self::checked(path, raw).with_context(|| format!("configuration `{}`", path.display()))
    }

    fn checked(path: &Path, raw: RawConfig) -> anyhow::Result<Self> {
        let trust_domain = TrustDomain::parse(&raw.identity.trust_domain)?;
        let id = SpiffeId::for_workload(
            &trust_domain,
            &raw.identity.namespace,
            &raw.identity.service_account,
        )
        .context("`identity` does not make an identity")?;
        anyhow::ensure!(
            raw.lease.timeout >= Duration::from_secs(1),
            "`lease.timeout` is `{:?}`, expected at least `1s`",
            raw.lease.timeout
        );
        anyhow::ensure!(
            raw.limits.connections > 0,
            "`limits.connections` must be at least 1"
        );
        let state_dir = resolve(path, &raw.state_dir);
        Ok(Self {
            identity: IdentityConfig {
                trust_domain,
                ca: raw.identity.ca,
                join_token: raw.identity.join_token.map(|token| resolve(path, &token)),
                state_dir: state_dir.clone(),
                spiffe_id: Some(id),
                ttl: raw.identity.ttl,
            },
            state_dir,
            listen: raw.listen,
            admin: raw.admin,
            taken_ports: raw.taken_ports,
            lease: raw.lease.timeout,
            connections: raw.limits.connections,
            drain_timeout: raw.drain.timeout,
            log: raw.log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(more: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.yaml");
        let text = format!(
            "apiVersion: portcullis.dev/v1\nkind: RegistryConfig\n\
             identity: {{trustDomain: cluster.local, ca: \"https://127.0.0.1:15012\"}}\n\
             stateDir: ./state\nlisten: \"127.0.0.1:0\"\n{more}"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &[]).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_documented_file_loads_and_mistakes_are_named() {
        let config = load("lease: {timeout: 3s}\n").unwrap();
        assert_eq!(config.lease, Duration::from_secs(3));
        assert_eq!(
            config.identity.spiffe_id.unwrap().as_str(),
            "spiffe://cluster.local/ns/istio-system/sa/portcullis-registry"
        );
        for (more, word) in [
            ("lease: {timeout: 10ms}\n", "lease.timeout"),
            ("limits: {connections: 0}\n", "limits.connections"),
            ("leese: {}\n", "leese"),
        ] {
            let error = load(more).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
