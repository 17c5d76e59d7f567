//! What a process says about fetching keys (`jwks:` in its configuration).

use std::path::PathBuf;

use serde::Deserialize;

/// `jwks`: how keys of token issuers are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JwksConfig {
    /// Whether keys may be fetched from loopback and private addresses. Link-local addresses and the metadata services of
    /// clouds are never asked.
    pub allow_private: bool,
    /// Further certificate authorities for `https`, as PEM; the system's are always trusted.
    pub ca_file: Option<PathBuf>,
}

/// Why tokens cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// `jwks.caFile`.
    #[error("`jwks.caFile`: cannot read certificates from `{}`: {cause}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A metric.
    #[error("cannot make the metrics of tokens: {0}")]
    Metrics(#[from] prometheus::Error),
}
