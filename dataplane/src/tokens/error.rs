//! Why tokens cannot be verified at all.

use std::path::PathBuf;

/// What keeps a process from verifying tokens.
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
