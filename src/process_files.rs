//! The configuration files of the processes that `up` and `run` start, filled in from templates.

use std::net::SocketAddr;

use crate::names::{Label, TRUST_DOMAIN};

const CA: &str = include_str!("../deploy/demo/process/ca.yaml");
const REGISTRY: &str = include_str!("../deploy/demo/process/registry.yaml");
const GATEWAY: &str = include_str!("../deploy/demo/process/gateway.yaml");
const SIDECAR: &str = include_str!("../deploy/demo/process/sidecar.yaml");

/// Replaces each `${name}` of a template; a name that nobody fills in stays and fails the strict reader.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        })
}

/// The CA's file.
pub(crate) fn ca(listen: SocketAddr) -> String {
    fill(
        CA,
        &[
            ("trustDomain", TRUST_DOMAIN),
            ("listen", &listen.to_string()),
        ],
    )
}

/// The registry's file.
pub(crate) fn registry(ca: SocketAddr, listen: SocketAddr) -> String {
    let values = [
        ("trustDomain", TRUST_DOMAIN),
        ("ca", &ca.to_string()),
        ("listen", &listen.to_string()),
    ];
    fill(REGISTRY, &values)
}

/// The gateway's file.
pub(crate) fn gateway(centre: Centre, http: SocketAddr, https: SocketAddr) -> String {
    let values = [
        ("trustDomain", TRUST_DOMAIN),
        ("ca", &centre.ca.to_string()),
        ("registry", &centre.registry.to_string()),
        ("http", &http.to_string()),
        ("https", &https.to_string()),
    ];
    fill(GATEWAY, &values)
}

/// A workload's program as its sidecar sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound {
    /// The port the workload is known by; authorization policies see this one.
    pub(crate) port: u16,
    /// Where the sidecar accepts mutual TLS.
    pub(crate) listen: SocketAddr,
    /// Where the program listens.
    pub(crate) app: SocketAddr,
}

/// Where every process finds the mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Centre {
    /// Where the CA listens.
    pub(crate) ca: SocketAddr,
    /// Where the registry listens.
    pub(crate) registry: SocketAddr,
}

/// Where a program finds Dapr's API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dapr {
    /// Its HTTP API.
    pub(crate) http: SocketAddr,
    /// Its gRPC API.
    pub(crate) grpc: SocketAddr,
}

/// What a sidecar's file is made from; the names have been checked.
#[derive(Debug)]
pub(crate) struct SidecarFile<'a> {
    /// The workload's name.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its service account.
    pub(crate) service_account: &'a str,
    /// Its labels.
    pub(crate) labels: &'a [Label],
    /// Where the mesh is.
    pub(crate) centre: Centre,
    /// Its program, if it serves: then it is registered, as port 80 of its service.
    pub(crate) inbound: Option<Inbound>,
    /// Where the program's own calls go.
    pub(crate) outbound: SocketAddr,
    /// Where it finds Dapr's API, if it wants it.
    pub(crate) dapr: Option<Dapr>,
}

/// A sidecar's file.
pub(crate) fn sidecar(file: &SidecarFile<'_>) -> String {
    let register = file.inbound.map_or_else(String::new, |inbound| {
        let port = inbound.port;
        format!(", register: {{ports: [{{inbound: {port}, number: 80, name: http}}]}}")
    });
    let inbound = file.inbound.map_or_else(String::new, |inbound| {
        let Inbound { port, listen, app } = inbound;
        format!(r#"{{port: {port}, protocol: http, listen: "{listen}", app: "{app}"}}"#)
    });
    let dapr = file.dapr.map_or_else(String::new, |Dapr { http, grpc }| {
        format!(r#"http: "{http}", grpc: "{grpc}""#)
    });
    let values = [
        ("trustDomain", TRUST_DOMAIN),
        ("name", file.name),
        ("namespace", file.namespace),
        ("serviceAccount", file.service_account),
        ("labels", &labels(file.labels)),
        ("ca", &file.centre.ca.to_string()),
        ("registry", &file.centre.registry.to_string()),
        ("register", &register),
        ("inbound", &inbound),
        ("outbound", &file.outbound.to_string()),
        ("dapr", &dapr),
    ];
    fill(SIDECAR, &values)
}

/// Labels as a YAML mapping on one line; quoted, so that `true` stays a word.
pub(crate) fn labels(labels: &[Label]) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|label| format!(r#""{}": "{}""#, label.key, label.value))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::loopback;

    fn holds_no_gap(text: &str) {
        assert!(!text.contains("${"), "a gap is left:\n{text}");
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(value["apiVersion"], "portcullis.dev/v1");
    }

    #[test]
    fn every_gap_is_filled() {
        holds_no_gap(&ca(loopback(1)));
        let centre = Centre {
            ca: loopback(1),
            registry: loopback(7),
        };
        holds_no_gap(&registry(loopback(1), loopback(7)));
        holds_no_gap(&gateway(centre, loopback(2), loopback(3)));
        let labels = [
            "app=billing".parse().unwrap(),
            "canary=true".parse().unwrap(),
        ];
        for inbound in [
            None,
            Some(Inbound {
                port: 80,
                listen: loopback(4),
                app: loopback(5),
            }),
        ] {
            let text = sidecar(&SidecarFile {
                name: "billing",
                namespace: "my-app",
                service_account: "billing",
                labels: &labels,
                centre,
                inbound,
                outbound: loopback(6),
                dapr: inbound.map(|_| Dapr {
                    http: loopback(7),
                    grpc: loopback(8),
                }),
            });
            holds_no_gap(&text);
            let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value["workload"]["labels"]["canary"], "true");
            assert_eq!(
                value["inbound"].as_array().map(Vec::len),
                Some(usize::from(inbound.is_some()))
            );
        }
    }
}
