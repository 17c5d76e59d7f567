//! Clusters from services and destination rules.

/// Collects the clusters that routes ask for.
#[derive(Debug, Default)]
pub(crate) struct ClusterBuilder {}
