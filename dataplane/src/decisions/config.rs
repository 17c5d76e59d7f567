//! `decisions` of a process file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::telemetry::LogTarget;

/// What is remembered of decisions, and where it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DecisionsConfig {
    /// The decision log: `-` for standard output, or a file; off when absent.
    pub log: Option<PathBuf>,
    /// The share of plain allowances that is remembered, from 0 to 1. Denials, and what a dry run would change, always are.
    pub sample_allowed: f64,
    /// How many decisions are kept in memory for `/decisions`; 0 keeps none.
    pub buffer: usize,
}

impl Default for DecisionsConfig {
    fn default() -> Self {
        Self {
            log: None,
            sample_allowed: 0.01,
            buffer: 1024,
        }
    }
}

/// The most decisions that are kept: some kilobytes each.
const MOST: usize = 100_000;

/// What `decisions` gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecisionsConfigError {
    /// `sampleAllowed`.
    #[error("`decisions.sampleAllowed` must be between 0 and 1")]
    Sample,
    /// `buffer`.
    #[error("`decisions.buffer` must be at most {MOST}")]
    Buffer,
}

impl DecisionsConfig {
    /// Checks the values, and makes the path absolute to the process file.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn resolve(mut self, file: &Path) -> Result<Self, DecisionsConfigError> {
        if !(0.0..=1.0).contains(&self.sample_allowed) {
            return Err(DecisionsConfigError::Sample);
        }
        if self.buffer > MOST {
            return Err(DecisionsConfigError::Buffer);
        }
        if let Some(log) = &mut self.log
            && log.as_os_str() != "-"
        {
            *log = runtime::config::resolve(file, log);
        }
        Ok(self)
    }

    /// Where the log goes.
    pub fn target(&self) -> LogTarget {
        LogTarget::from_path(self.log.clone())
    }
}
