//! WorkloadEntry (`networking.istio.io`): one workload outside Kubernetes, and the same shape inside a ServiceEntry.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, NAME, Port, is_host_name};
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

impl Document for WorkloadEntry {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let spec = WorkloadSpec::read(f);
        if spec.address.is_none() {
            f.required::<Spanned<WorkloadAddress>>("address");
        }
        Some(Self { meta, spec })
    }
}

impl Decode for WorkloadSpec {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| Some(Self::read(f)))
    }
}

impl WorkloadSpec {
    fn read(f: &mut Fields<'_>) -> Self {
        let spec = Self {
            at: f.cursor().at(),
            path: f.cursor().path.clone(),
            address: f.optional("address"),
            ports: f
                .map::<Port>("ports")
                .into_iter()
                .map(|(name, Port(port))| (name, port))
                .collect(),
            labels: f.map("labels"),
            locality: f.optional("locality"),
            weight: f.optional("weight").unwrap_or(1),
            service_account: f
                .get("serviceAccount")
                .and_then(|cursor| service_account(&cursor)),
        };
        f.optional::<String>("network");
        spec
    }
}

/// It becomes a segment of a SPIFFE ID.
fn service_account(cursor: &Cursor<'_>) -> Option<String> {
    cursor.note(|shape| shape.format(NAME));
    let text = cursor.text()?;
    if is_host_name(text) {
        Some(text.to_owned())
    } else {
        cursor.invalid("a service account's name")
    }
}

impl Decode for WorkloadAddress {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if let Ok(address) = text.parse() {
            return Some(Self::Ip(address));
        }
        if is_host_name(text) {
            return Some(Self::Name(text.to_ascii_lowercase()));
        }
        let help = if text.starts_with("unix:") {
            "Unix sockets are not supported"
        } else if text.contains(':') {
            "leave out the port: it comes from `ports`"
        } else {
            "write an IP address or a name"
        };
        cursor.invalid_with("an address", Some(help.to_owned()))
    }
}
