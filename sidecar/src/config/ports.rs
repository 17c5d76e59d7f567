//! The ports of a sidecar: those of its application, those that are services of the mesh, and the probes'.

use std::net::SocketAddr;

use serde::Deserialize;

/// One port of the workload.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Inbound {
    /// The workload's port, as policies name it.
    pub(crate) port: u16,
    /// What the application speaks.
    #[serde(default)]
    pub(crate) protocol: AppProtocol,
    /// Where the sidecar listens for the mesh.
    pub(crate) listen: SocketAddr,
    /// Where the application listens.
    pub(crate) app: SocketAddr,
}

/// What the application speaks on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AppProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// gRPC: HTTP/2 by prior knowledge.
    Grpc,
    /// Anything else: bytes that nobody looks into.
    Tcp,
}

/// A local port that is a service of the mesh.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Upstream {
    /// The service, by a name that the workload knows it by.
    pub(crate) service: String,
    /// The service's port.
    pub(crate) port: u16,
    /// Where the application connects to.
    pub(crate) listen: SocketAddr,
    /// What is spoken; HTTP goes through `outbound`.
    #[serde(default, rename = "protocol")]
    _protocol: UpstreamSpeech,
}

/// What is spoken on a local port for a service.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UpstreamSpeech {
    #[default]
    Tcp,
}

impl Upstream {
    #[cfg(test)]
    pub(crate) fn tcp(service: &str, port: u16, listen: SocketAddr) -> Self {
        Self {
            service: service.to_owned(),
            port,
            listen,
            _protocol: UpstreamSpeech::Tcp,
        }
    }

    /// What its listener is called in `ports.json`.
    pub(crate) fn name(&self) -> String {
        format!("upstream:{}:{}", self.service, self.port)
    }
}

/// The ports of Dapr's API for the application.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DaprPorts {
    /// For its HTTP API.
    pub(crate) http: Option<SocketAddr>,
    /// For its gRPC API.
    pub(crate) grpc: Option<SocketAddr>,
}

/// The plaintext port for health probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Probe {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// A path of the application that must answer 2xx or 3xx; absent: it must accept a connection.
    pub(crate) path: Option<String>,
}

/// Checks what the ports have to do with each other.
pub(super) fn check(
    inbound: &[Inbound],
    upstreams: &[Upstream],
    probe: Option<&Probe>,
) -> anyhow::Result<()> {
    for (position, port) in inbound.iter().enumerate() {
        let mut earlier = inbound.iter().take(position);
        anyhow::ensure!(
            earlier.all(|earlier| earlier.port != port.port),
            "`inbound`: port `{}` stands twice",
            port.port
        );
    }
    for (position, upstream) in upstreams.iter().enumerate() {
        let mut earlier = upstreams.iter().take(position);
        let same = |earlier: &Upstream| {
            earlier.port == upstream.port && earlier.service.eq_ignore_ascii_case(&upstream.service)
        };
        anyhow::ensure!(
            !earlier.any(same),
            "`upstreams`: port `{}` of `{}` stands twice",
            upstream.port,
            upstream.service
        );
    }
    let asks = probe.is_some_and(|probe| probe.path.is_some());
    anyhow::ensure!(
        !asks || inbound.is_empty() || probed(inbound, probe).is_some(),
        "`probe.path`: no port of `inbound` speaks HTTP"
    );
    Ok(())
}

/// The port of the application that health probes look at: the first; with a path to ask for, the first that speaks
/// HTTP.
pub(super) fn probed<'a>(inbound: &'a [Inbound], probe: Option<&Probe>) -> Option<&'a Inbound> {
    let asks = probe.is_some_and(|probe| probe.path.is_some());
    let mut ports = inbound.iter();
    ports.find(|port| !(asks && port.protocol == AppProtocol::Tcp))
}
