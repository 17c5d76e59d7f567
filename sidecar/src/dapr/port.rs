//! The port of the service that an app-id means: Dapr's calls name none.

use dataplane::Snapshot;
use policies::cluster::{Cluster, Protocol};

/// 80 if the service has it, else its first port that speaks HTTP; `None` for a service that nobody knows.
pub(super) fn of(snapshot: &Snapshot, own_namespace: &str, app: &str) -> Option<u16> {
    let clusters = snapshot.clusters.iter().map(|(_, cluster)| cluster);
    let ports =
        clusters.filter(|cluster| speaks_http(cluster) && means(cluster, own_namespace, app));
    ports
        .map(|cluster| cluster.key.port)
        .min_by_key(|port| (*port != 80, *port))
}

/// Whether the workload knows the service by that name: short in its own namespace, else with more of its host.
fn means(cluster: &Cluster, own_namespace: &str, app: &str) -> bool {
    let host = &*cluster.key.host;
    let Some((start, rest)) = host.split_at_checked(app.len()) else {
        return false;
    };
    let own = *cluster.service.namespace == *own_namespace;
    start.eq_ignore_ascii_case(app)
        && (rest.is_empty() || (rest.starts_with('.') && (own || app.contains('.'))))
}

const fn speaks_http(cluster: &Cluster) -> bool {
    matches!(
        cluster.protocol,
        Protocol::Http | Protocol::Http2 | Protocol::Grpc
    )
}
