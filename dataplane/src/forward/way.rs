//! How one request is forwarded.

use policies::cluster::ClusterIndex;
use policies::resilience::RetryPolicy;
use tokio::time::Instant;

use crate::upstream::UpstreamProtocol;

/// Where a request goes, when it is sent again, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The cluster.
    pub cluster: ClusterIndex,
    /// When the request is sent again.
    pub retry: &'a RetryPolicy,
    /// When everything has to be over, the last byte of the response too ([`deadline`](super::deadline())).
    pub deadline: Option<Instant>,
    /// The hash that `consistentHash` picks the endpoint by; none if the request has no such key.
    pub hash: Option<u64>,
    /// What is spoken whatever the documents say about the port.
    pub protocol: Option<UpstreamProtocol>,
    /// Whether the next hop is told.
    pub told: Told,
}

/// Whether the next hop is told how often a request was sent and how much time is left (`x-envoy-attempt-count`,
/// `x-envoy-expected-rq-timeout-ms`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Both.
    #[default]
    Everything,
    /// How much time is left: what the caller counted stays.
    Deadline,
    /// Nothing: the request is the proxy's own.
    Nothing,
}

impl<'a> Way<'a> {
    /// To a cluster, without a deadline.
    pub const fn new(cluster: ClusterIndex, retry: &'a RetryPolicy) -> Self {
        Self {
            cluster,
            retry,
            deadline: None,
            hash: None,
            protocol: None,
            told: Told::Everything,
        }
    }
}
