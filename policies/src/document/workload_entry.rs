//! WorkloadEntry (`networking.istio.io`): one workload outside Kubernetes, and the same shape inside a ServiceEntry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Meta, Spanned};
use crate::diagnostic::DocPath;
use crate::source::Location;

/// Istio's WorkloadEntry.
#[derive(Clone, Debug)]
pub struct WorkloadEntry {
    /// What it is called.
    pub meta: Meta,
    /// `spec`.
    pub spec: WorkloadSpec,
}

/// Istio's `WorkloadEntry` message: also the elements of `ServiceEntry.endpoints`.
#[derive(Clone, Debug)]
pub struct WorkloadSpec {
    /// Where it stands.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `address`.
    pub address: Option<Spanned<WorkloadAddress>>,
    /// `ports`: port name to number.
    pub ports: BTreeMap<String, u16>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `locality`: region/zone/subzone.
    pub locality: Option<String>,
    /// `weight`, 1 if not given.
    pub weight: u32,
    /// `serviceAccount`: gives the identity that the endpoint must prove.
    pub service_account: Option<String>,
}

/// Where a workload listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A name for DNS, in lower case.
    Name(String),
}
