//! Sections of the process files that gateway and sidecar have alike.

use std::path::PathBuf;
use std::time::Duration;

use policies::resilience::LOCALITY_LABEL;
use serde::{Deserialize, Serialize};

/// `authorization`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationConfig {
    /// Whether denials are enforced.
    pub mode: AuthorizationMode,
}

/// `authorization.mode`: what becomes of requests that AuthorizationPolicies deny.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorizationMode {
    /// They are refused.
    #[default]
    Enforce,
    /// They pass, and are recorded as what they are. mTLS and tokens are still enforced.
    Audit,
}

/// `path`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PathConfig {
    /// Which form of the path goes on.
    pub forward: ForwardedPath,
}

/// `path.forward`: what the next hop gets of a path that is judged and routed in its canonical form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardedPath {
    /// The canonical form: exactly what was judged.
    #[default]
    Canonical,
    /// The bytes that the client sent, unless the route rewrites the path.
    Original,
}

/// `jwks`: how the keys of token issuers are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwksConfig {
    /// Whether keys may be fetched from loopback and private addresses. Link-local addresses and the metadata services of
    /// clouds are never asked.
    pub allow_private: bool,
    /// Further certificate authorities for `https`, as PEM; the system's are always trusted.
    pub ca_file: Option<PathBuf>,
}

/// `workload.locality`: where a workload is, `region/zone/subzone` or a beginning of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LocalityConfig(String);

impl LocalityConfig {
    /// The label by which balancing knows it.
    pub fn label(&self) -> (String, String) {
        (LOCALITY_LABEL.to_owned(), self.0.clone())
    }
}

impl TryFrom<String> for LocalityConfig {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split('/').count();
        if parts > 3 || text.contains('*') || text.split('/').any(str::is_empty) {
            return Err(format!(
                "`{text}` is not a locality: write `region/zone/subzone`, or a beginning of it"
            ));
        }
        Ok(Self(text))
    }
}

/// `overload`: how many requests are under way at once, and how long others wait for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverloadConfig {
    /// Requests under way at once; at least 1.
    pub concurrency: u32,
    /// How long a request may wait while the queue does not empty.
    #[serde(
        default = "default_target",
        deserialize_with = "runtime::duration::deserialize"
    )]
    pub target: Duration,
    /// How long a request may wait otherwise; and after so long a queue that did not empty is a standing one.
    #[serde(
        default = "default_interval",
        deserialize_with = "runtime::duration::deserialize"
    )]
    pub interval: Duration,
}

impl OverloadConfig {
    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        usize::try_from(self.concurrency.max(1)).unwrap_or(usize::MAX)
    }
}

const fn default_target() -> Duration {
    Duration::from_millis(5)
}

const fn default_interval() -> Duration {
    Duration::from_millis(100)
}
