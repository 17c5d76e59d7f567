//! The process file of the authority (`kind: CaConfig`): what is written, and what it means once it is checked.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::{SpiffeId, SpiffeIdError, TrustDomain};
use runtime::config::{ConfigDocument, ConfigError, resolve};
use runtime::listen::TakenPorts;
use runtime::log::LogConfig;
use serde::Deserialize;

use crate::authority::INTERMEDIATE_LIFE;
use crate::issuance::{Lifetimes, Limits};
use crate::limits::Rate;

/// How strictly keys are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Root key and plain keys may lie in the state directory.
    Laptop,
    /// They may not.
    Production,
}

impl Profile {
    /// The word in the process file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Production => "production",
        }
    }
}

/// What stands in the file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawConfig {
    trust_domain: String,
    listen: SocketAddr,
    state_dir: PathBuf,
    admin_socket: PathBuf,
    profile: Profile,
    #[serde(default)]
    entries: Vec<PathBuf>,
    #[serde(default)]
    x509: RawX509,
    edge: Option<RawEdge>,
    #[serde(default)]
    keys: RawKeys,
    #[serde(default)]
    bundle: RawBundle,
    #[serde(default)]
    limits: RawLimits,
    admin: Option<SocketAddr>,
    #[serde(default)]
    taken_ports: TakenPorts,
    #[serde(default)]
    drain: RawDrain,
    #[serde(default)]
    log: LogConfig,
}

impl ConfigDocument for RawConfig {
    const KIND: &'static str = "CaConfig";
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawX509 {
    #[serde(deserialize_with = "runtime::duration::deserialize")]
    ttl: Duration,
    #[serde(rename = "maxTTL", deserialize_with = "runtime::duration::deserialize")]
    max_ttl: Duration,
}

impl Default for RawX509 {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(1),
            max_ttl: Duration::from_hours(24),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEdge {
    callers: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawKeys {
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawBundle {
    additional_roots: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawDrain {
    #[serde(deserialize_with = "runtime::duration::deserialize")]
    timeout: Duration,
}

impl Default for RawDrain {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawLimits {
    per_address: RawRate,
    per_caller: RawRate,
    concurrent: usize,
    connections: usize,
    connections_per_address: usize,
    #[serde(deserialize_with = "runtime::duration::deserialize")]
    handshake_timeout: Duration,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            // SPIRE's limit of signatures per address is 500 a second.
            per_address: RawRate {
                per_second: 500,
                burst: 1000,
            },
            per_caller: RawRate {
                per_second: 50,
                burst: 500,
            },
            concurrent: 1024,
            connections: 8192,
            connections_per_address: 1024,
            handshake_timeout: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRate {
    per_second: u32,
    burst: u32,
}

/// What the file means.
#[derive(Debug, Clone)]
pub struct Config {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where workloads reach the authority.
    pub listen: SocketAddr,
    /// What to do if a port is taken.
    pub taken_ports: TakenPorts,
    /// Keys, records, port map.
    pub state_dir: PathBuf,
    /// The Unix socket of the Admin service.
    pub admin_socket: PathBuf,
    /// How strictly keys are kept.
    pub profile: Profile,
    /// Where registration entries are.
    pub entries: Vec<PathBuf>,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
    /// Who may have edge certificates; none if nobody may.
    pub edge_callers: BTreeSet<SpiffeId>,
    /// What opens and seals keys.
    pub passphrase_file: Option<PathBuf>,
    /// PEM files with roots that stand in the bundle beside our own.
    pub additional_roots: Vec<PathBuf>,
    /// How much may be asked.
    pub limits: Limits,
    /// How many may be connected.
    pub connections: ConnectionLimits,
    /// Where metrics and health are shown.
    pub admin: SocketAddr,
    /// How long calls get to finish.
    pub drain_timeout: Duration,
    /// The log.
    pub log: LogConfig,
}

/// How many may be connected, and how long they may take to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Altogether.
    pub total: usize,
    /// From one network address.
    pub per_address: usize,
    /// For the TLS handshake, and again for the first bytes after it.
    pub handshake: Duration,
}

/// Why a process file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaConfigError {
    /// It can't be read, or not as a `CaConfig`.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The trust domain is none.
    #[error("`trustDomain: {value}` is no trust domain")]
    TrustDomain {
        /// What was written.
        value: String,
        /// What is wrong.
        source: SpiffeIdError,
    },
    /// A caller of the edge is no SPIFFE ID of the trust domain.
    #[error("`edge.callers`: `{0}` is no SPIFFE ID of the trust domain")]
    EdgeCaller(String),
    /// The edge authority has a plain root key.
    #[error(
        "`edge` works only with `profile: laptop`; in production give the gateway certificate files"
    )]
    EdgeInProduction,
    /// Lifetimes that can't be kept.
    #[error("`x509`: {0}")]
    Lifetimes(String),
    /// A limit of nothing.
    #[error("`limits.{0}` must be at least 1")]
    Limit(&'static str),
    /// The socket's path does not fit into a socket address.
    #[error("`adminSocket`: `{}` has more than 100 bytes, which is too long for a Unix socket", .0.display())]
    SocketPath(PathBuf),
}

impl Config {
    /// Reads the file and the `overrides` (`key.path=value`).
    pub fn load(file: &Path, overrides: &[String]) -> Result<Self, CaConfigError> {
        let raw: RawConfig = runtime::config::load(file, overrides)?;
        let trust_domain =
            TrustDomain::parse(&raw.trust_domain).map_err(|source| CaConfigError::TrustDomain {
                value: raw.trust_domain.clone(),
                source,
            })?;
        let mut edge_callers = BTreeSet::new();
        for text in raw.edge.map(|edge| edge.callers).unwrap_or_default() {
            let id = SpiffeId::parse(&text).ok();
            let id = id.filter(|id| id.trust_domain() == trust_domain.as_str());
            edge_callers.insert(id.ok_or(CaConfigError::EdgeCaller(text))?);
        }
        if raw.profile == Profile::Production && !edge_callers.is_empty() {
            return Err(CaConfigError::EdgeInProduction);
        }
        let admin_socket = resolve(file, &raw.admin_socket);
        if admin_socket.as_os_str().len() > 100 {
            return Err(CaConfigError::SocketPath(admin_socket));
        }
        let here = |path: &PathBuf| resolve(file, path);
        Ok(Self {
            lifetimes: lifetimes(&raw.x509)?,
            limits: limits(&raw.limits)?,
            connections: ConnectionLimits {
                total: at_least_one("connections", raw.limits.connections)?,
                per_address: at_least_one(
                    "connectionsPerAddress",
                    raw.limits.connections_per_address,
                )?,
                handshake: raw.limits.handshake_timeout,
            },
            trust_domain,
            listen: raw.listen,
            taken_ports: raw.taken_ports,
            state_dir: here(&raw.state_dir),
            admin_socket,
            profile: raw.profile,
            entries: raw.entries.iter().map(here).collect(),
            edge_callers,
            passphrase_file: raw.keys.passphrase_file.as_ref().map(here),
            additional_roots: raw.bundle.additional_roots.iter().map(here).collect(),
            admin: raw
                .admin
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            drain_timeout: raw.drain.timeout,
            log: raw.log,
        })
    }
}

fn lifetimes(raw: &RawX509) -> Result<Lifetimes, CaConfigError> {
    let refuse = |text: &str| Err(CaConfigError::Lifetimes(text.to_owned()));
    if raw.ttl < Duration::from_secs(10) {
        return refuse("`ttl` is below 10 seconds");
    }
    if raw.ttl > raw.max_ttl {
        return refuse("`ttl` is above `maxTTL`");
    }
    // Below six lives of a leaf per intermediate, certificates get shorter without a word (spire#1266).
    if raw.max_ttl > INTERMEDIATE_LIFE / 6 {
        return refuse("`maxTTL` is above 60 days, a sixth of the intermediate's life");
    }
    Ok(Lifetimes {
        default: raw.ttl,
        max: raw.max_ttl,
    })
}

fn limits(raw: &RawLimits) -> Result<Limits, CaConfigError> {
    let rate = |name, raw: RawRate| {
        if raw.per_second == 0 || raw.burst == 0 {
            return Err(CaConfigError::Limit(name));
        }
        Ok(Rate {
            per_second: f64::from(raw.per_second),
            burst: f64::from(raw.burst),
        })
    };
    Ok(Limits {
        per_address: rate("perAddress", raw.per_address)?,
        per_caller: rate("perCaller", raw.per_caller)?,
        concurrent: at_least_one("concurrent", raw.concurrent)?,
    })
}

fn at_least_one(name: &'static str, value: usize) -> Result<usize, CaConfigError> {
    if value == 0 {
        Err(CaConfigError::Limit(name))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
