//! The `policy` part of the `/status` answer.

use std::time::SystemTime;

use policies::diagnostic::Diagnostic;
use runtime::documents::EditionId;
use serde::Serialize;

use super::{PolicyState, RejectionReason};

/// What is in force, as `/status` shows it. Timestamps are RFC 3339.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation in force; 0 while there is none.
    pub generation: u64,
    /// The content in force: the same for every process that reads the same files.
    pub edition: Option<EditionId>,
    /// When it was loaded.
    pub loaded_at: Option<String>,
    /// How many documents it has.
    pub documents: usize,
    /// Findings about it that are no errors.
    pub warnings: Vec<Diagnostic>,
    /// The newest edition, when it was refused.
    pub rejected: Option<RejectedStatus>,
}

/// A refused edition.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedStatus {
    /// When it was refused.
    pub at: String,
    /// The content that was refused; `null` when the files could not be read.
    pub edition: Option<EditionId>,
    /// Why the files could not be read; `null` when they could.
    pub error: Option<String>,
    /// Every finding.
    pub diagnostics: Vec<Diagnostic>,
}

impl PolicyStatus {
    pub(super) fn of(state: &PolicyState) -> Self {
        let snapshot = state.snapshot.as_deref();
        Self {
            generation: snapshot.map_or(0, |s| s.generation),
            edition: state.edition.as_ref().map(|edition| edition.id),
            loaded_at: snapshot.map(|s| rfc3339(s.loaded_at)),
            documents: snapshot.map_or(0, |s| s.documents),
            warnings: snapshot.map(|s| s.warnings.clone()).unwrap_or_default(),
            rejected: state.rejected.as_ref().map(|rejection| {
                let (error, diagnostics) = match &rejection.reason {
                    RejectionReason::Unreadable(error) => (Some(error.to_string()), Vec::new()),
                    RejectionReason::AllGone => (Some(super::ALL_GONE.to_owned()), Vec::new()),
                    RejectionReason::Invalid(findings) => (None, findings.to_vec()),
                };
                RejectedStatus {
                    at: rfc3339(rejection.at),
                    edition: rejection.edition,
                    error,
                    diagnostics,
                }
            }),
        }
    }
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|t| format!("{t:.3}"))
        .unwrap_or_default()
}
