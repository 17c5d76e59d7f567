//! ServiceEntry (`networking.istio.io`): a service and where it lives.

use super::{LabelSelector, Meta, Protocol, Spanned, WorkloadSpec};

/// Istio's ServiceEntry.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// What it is called.
    pub meta: Meta,
    /// `spec.hosts`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// `spec.ports`.
    pub ports: Vec<ServiceEntryPort>,
    /// `spec.location`.
    pub location: MeshLocation,
    /// `spec.resolution`.
    pub resolution: Spanned<Resolution>,
    /// `spec.endpoints`.
    pub endpoints: Vec<WorkloadSpec>,
    /// `spec.workloadSelector`: WorkloadEntry documents of the same namespace.
    pub workload_selector: Option<LabelSelector>,
}

/// Istio's `ServicePort`.
#[derive(Clone, Debug)]
pub struct ServiceEntryPort {
    /// `number`.
    pub number: Spanned<u16>,
    /// `name`.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `targetPort`: the endpoints' port if it differs.
    pub target_port: Option<u16>,
}

/// `location`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeshLocation {
    /// `MESH_EXTERNAL`, the default.
    #[default]
    External,
    /// `MESH_INTERNAL`.
    Internal,
}

/// `resolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// `NONE`, the default: the address that the client dialled.
    #[default]
    None,
    /// `STATIC`: the addresses of the endpoints.
    Static,
    /// `DNS`: names of endpoints, or the host itself, resolved; all answers are used.
    Dns,
    /// `DNS_ROUND_ROBIN`: as `DNS`, the first answer is used.
    DnsRoundRobin,
}
