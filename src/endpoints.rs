//! Endpoint documents (Istio's ServiceEntry and WorkloadEntry) written from the ports that are really in use.

use std::net::SocketAddr;

use crate::names::Label;
use crate::process_files::labels;

/// One running instance of a service; the names have been checked.
#[derive(Debug)]
pub(crate) struct Instance<'a> {
    /// The document's name.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// The service account, which callers verify.
    pub(crate) service_account: &'a str,
    /// Chosen by ServiceEntries and subsets.
    pub(crate) labels: &'a [Label],
    /// Where its sidecar accepts mutual TLS.
    pub(crate) address: SocketAddr,
}

impl Instance<'_> {
    /// The WorkloadEntry document.
    pub(crate) fn document(&self) -> String {
        format!(
            "apiVersion: networking.istio.io/v1\n\
             kind: WorkloadEntry\n\
             metadata: {{name: {name}, namespace: {namespace}}}\n\
             spec:\n\
             \x20 address: {ip}\n\
             \x20 ports: {{http: {port}}}\n\
             \x20 labels: {labels}\n\
             \x20 serviceAccount: {account}\n",
            name = self.name,
            namespace = self.namespace,
            ip = self.address.ip(),
            port = self.address.port(),
            labels = labels(self.labels),
            account = self.service_account,
        )
    }
}

/// The ServiceEntry document that makes `name` a service of port 80 over the instances with label `app: name`.
pub(crate) fn service(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n\
         \x20 hosts: [{name}.{namespace}.svc.cluster.local]\n\
         \x20 ports: [{{number: 80, name: http, protocol: HTTP}}]\n\
         \x20 location: MESH_INTERNAL\n\
         \x20 resolution: STATIC\n\
         \x20 workloadSelector: {{labels: {{\"app\": \"{name}\"}}}}\n"
    )
}

/// The RegistrationEntry document that gives an identity to whoever has a join token of that name.
pub(crate) fn registration(name: &str, namespace: &str, spiffe_id: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\n\
         kind: RegistrationEntry\n\
         metadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n\
         \x20 spiffeID: {spiffe_id}\n\
         \x20 selectors: [\"join_token:{name}\"]\n\
         \x20 x509SVIDTTL: 1h\n"
    )
}

/// Several documents as one file, with a first line that says where it comes from.
pub(crate) fn file(origin: &str, documents: &[String]) -> String {
    format!("# {origin}; edits are lost.\n{}", documents.join("---\n"))
}
