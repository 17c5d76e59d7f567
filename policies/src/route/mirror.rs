//! Copies of requests that nobody waits for (`mirror`, `mirrors`).

use super::Share;
use crate::cluster::ClusterIndex;

/// Istio's `HTTPMirrorPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copies go.
    pub cluster: ClusterIndex,
    /// The share of the requests that are copied.
    pub share: Share,
}
