//! RequestAuthentication: which tokens are accepted, compiled for one workload.

use std::sync::Arc;

use policies::{document::DocumentSet, mesh::Mesh, workload::Workload};
use serde_json::{Map, Value};

use crate::claims::Claims;

/// Every RequestAuthentication that selects one workload, as one list of rules (Istio concatenates them).
#[derive(Debug, Clone, Default)]
pub struct TokenRules {}

impl TokenRules {
    /// Compiles the RequestAuthentications that select the workload.
    pub fn compile(_documents: &DocumentSet, _workload: &Workload, _mesh: &Mesh) -> Self {
        Self {}
    }

    /// Whether no token is asked for: then tokens are not looked at.
    pub const fn is_empty(&self) -> bool {
        true
    }
}

/// A token whose signature, issuer, audience and times hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// What it says, as rules look at it.
    pub claims: Claims,
    /// Its payload as it was signed.
    pub payload: Arc<Map<String, Value>>,
}
