//! What a route does with a request.

use std::sync::Arc;

use http::StatusCode;

use super::{HeaderOps, RequestView};
use crate::cluster::ClusterIndex;
use crate::document::RedirectPort;
use crate::host::split_port;

/// What a route does.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// Sends the request to one of several clusters.
    Forward(WeightedClusters),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Answers itself.
    DirectResponse(DirectResponse),
}

/// The clusters of a route and their shares.
#[derive(Clone, Debug)]
pub struct WeightedClusters {
    /// The clusters that get requests, in document order; never empty.
    clusters: Box<[WeightedCluster]>,
    total: u64,
}

/// One cluster of a route.
#[derive(Clone, Debug)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: ClusterIndex,
    /// Its share, relative to the others; at least 1.
    pub weight: u32,
    /// Changes to the request, after the route's own.
    pub request_headers: HeaderOps,
    /// Changes to the response, after the route's own.
    pub response_headers: HeaderOps,
}

impl WeightedClusters {
    /// The clusters with a weight; none if no weight is left.
    pub(crate) fn new(clusters: Vec<WeightedCluster>) -> Option<Self> {
        let clusters: Box<[_]> = clusters
            .into_iter()
            .filter(|cluster| cluster.weight > 0)
            .collect();
        let total = clusters
            .iter()
            .map(|cluster| u64::from(cluster.weight))
            .sum();
        (total > 0).then_some(Self { clusters, total })
    }

    /// The cluster that a uniformly random number chooses.
    pub fn pick(&self, random: u64) -> ClusterIndex {
        self.choose(random)
            .map_or(ClusterIndex(u32::MAX), |chosen| chosen.cluster)
    }

    /// The chosen cluster with its header changes; always there.
    pub fn choose(&self, random: u64) -> Option<&WeightedCluster> {
        // Multiply and shift (Lemire): unbiased enough for 64 random bits, and the order of numbers is kept.
        let scaled = (u128::from(random) * u128::from(self.total)) >> 64;
        let mut left = u64::try_from(scaled).unwrap_or(0);
        for cluster in &self.clusters {
            let weight = u64::from(cluster.weight);
            if left < weight {
                return Some(cluster);
            }
            left -= weight;
        }
        self.clusters.last()
    }

    /// Every cluster with its weight.
    pub fn iter(&self) -> impl Iterator<Item = &WeightedCluster> {
        self.clusters.iter()
    }
}

/// A redirect (`redirect`, or a server's `httpsRedirect`).
#[derive(Clone, Debug)]
pub struct Redirect {
    /// The status: 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    pub(crate) scheme: Option<Box<str>>,
    pub(crate) authority: Option<Box<str>>,
    pub(crate) port: Option<RedirectPort>,
    pub(crate) path: Option<Box<str>>,
}

impl Redirect {
    /// The redirect of a server with `httpsRedirect`.
    pub(crate) fn to_https() -> Self {
        Self {
            status: StatusCode::MOVED_PERMANENTLY,
            scheme: Some("https".into()),
            authority: None,
            port: Some(RedirectPort::ProtocolDefault),
            path: None,
        }
    }

    /// The value of `location` for a request; the query is kept, default ports are not shown.
    pub fn location(&self, request: &RequestView<'_>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or(request.scheme);
        let (request_host, request_port) = split_port(request.host);
        let (host, port) = match (&self.authority, self.port) {
            (Some(authority), None) => split_port(authority),
            (authority, port) => {
                let host = authority
                    .as_deref()
                    .map_or(request_host, |authority| split_port(authority).0);
                let port = match port {
                    Some(RedirectPort::Number(number)) => Some(number),
                    Some(RedirectPort::ProtocolDefault) => None,
                    // Istio keeps the port that the client sent; another scheme makes it meaningless, as in Envoy.
                    None if self
                        .scheme
                        .as_deref()
                        .is_some_and(|scheme| scheme != request.scheme) =>
                    {
                        None
                    }
                    Some(RedirectPort::Request) | None => request_port,
                };
                (host, port)
            }
        };
        let mut location = format!("{scheme}://{host}");
        match port {
            Some(80) if scheme == "http" => {}
            Some(443) if scheme == "https" => {}
            Some(port) => {
                location.push(':');
                location.push_str(&port.to_string());
            }
            None => {}
        }
        let path = self.path.as_deref().unwrap_or(request.path);
        if !path.starts_with('/') {
            location.push('/');
        }
        location.push_str(path);
        if let Some(query) = request.query.filter(|_| !path.contains('?')) {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}

/// An answer of the proxy itself.
#[derive(Clone, Debug)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Arc<[u8]>,
}
