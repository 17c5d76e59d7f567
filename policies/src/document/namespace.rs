//! Namespace (Kubernetes' core group): its name and labels.

use super::Meta;
use crate::decode::{Document, Fields};

/// Kubernetes' Namespace. Its labels are kept; `istio-injection` and the like have no effect, since nothing is injected.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// What it is called; `meta.labels` are the namespace's labels.
    pub meta: Meta,
    /// `spec.finalizers`: who has to agree before a cluster deletes it; of no use here.
    pub finalizers: Vec<String>,
}

impl Document for Namespace {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            meta,
            finalizers: f.list("finalizers"),
        })
    }
}
