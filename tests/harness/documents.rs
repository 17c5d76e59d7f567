//! The documents that a mesh of tests writes about itself.

use std::{collections::BTreeMap, net::SocketAddr};

/// What a join token of this name entitles to.
pub fn registration_entry(name: &str, spiffe_id: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: RegistrationEntry\n\
         metadata: {{name: {name}}}\n\
         spec: {{spiffeID: \"{spiffe_id}\", selectors: [\"join_token:{name}\"]}}\n"
    )
}

/// The service `<app>.<namespace>.svc.cluster.local` on port 80, over the workloads with label `app: <app>`.
pub fn service_entry(app: &str, namespace: &str, protocol: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: {app}, namespace: {namespace}}}\n\
         spec:\n\
         \x20 hosts: [{app}.{namespace}.svc.cluster.local]\n\
         \x20 ports: [{{number: 80, name: http, protocol: {protocol}}}]\n\
         \x20 location: MESH_INTERNAL\n\
         \x20 resolution: STATIC\n\
         \x20 workloadSelector: {{labels: {{app: {app}}}}}\n"
    )
}

/// One instance, with the address where its sidecar listens.
pub fn workload_entry(
    name: &str,
    namespace: &str,
    service_account: &str,
    labels: &BTreeMap<String, String>,
    inbound: SocketAddr,
) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\n\
         kind: WorkloadEntry\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{address: {ip}, ports: {{http: {port}}}, labels: {labels}, serviceAccount: {service_account}}}\n",
        ip = inbound.ip(),
        port = inbound.port(),
        labels = flow(labels),
    )
}

/// A mapping on one line; quoted, so that `true` stays a text.
pub fn flow(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("\"{key}\": \"{value}\""))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A namespace-wide PeerAuthentication with this mode.
pub fn peer_authentication(namespace: &str, mode: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\n\
         kind: PeerAuthentication\n\
         metadata: {{name: default, namespace: {namespace}}}\n\
         spec: {{mtls: {{mode: {mode}}}}}\n"
    )
}
