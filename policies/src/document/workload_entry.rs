//! WorkloadEntry (`networking.istio.io`): one workload outside Kubernetes, and the same shape inside a ServiceEntry.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::{Meta, Spanned};
use crate::decode::{
    Cursor, Decode, Document, Fields, NAME, NonEmpty, Port, ends_in_a_number, is_dns_label,
    is_host_name, labels, unix_path_problem,
};
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::source::Location;
use crate::yaml::shortened;

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
    /// `address`; only a workload of another `network` may be without.
    pub address: Option<Spanned<WorkloadAddress>>,
    /// `ports`: port name to number.
    pub ports: BTreeMap<String, u16>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `network`; not in force.
    pub network: Option<Box<str>>,
    /// `locality`; not in force.
    pub locality: Option<Box<Locality>>,
    /// `weight`, 1 if not given or 0.
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
    /// `unix://`: a socket's absolute path, or `@` and an abstract name; not in force.
    Unix(String),
}

/// `locality`: `region/zone/subzone`, or a beginning of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality {
    /// The region.
    pub region: Box<str>,
    /// The zone.
    pub zone: Option<Box<str>>,
    /// The subzone.
    pub subzone: Option<Box<str>>,
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        for part in self.zone.iter().chain(&self.subzone) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

impl Document for WorkloadEntry {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let spec = WorkloadSpec::read(f);
        require_address(f);
        Some(Self { meta, spec })
    }
}

/// A template has no address.
impl Decode for WorkloadSpec {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| Some(Self::read(f)))
    }
}

/// A workload that can be reached.
pub(crate) struct Reachable(pub(crate) WorkloadSpec);

impl Decode for Reachable {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let spec = WorkloadSpec::read(f);
            require_address(f);
            Some(Self(spec))
        })
    }
}

/// Only a workload behind another network's gateway needs no address.
fn require_address(f: &Fields<'_>) {
    if !f.has("address") && !f.has("network") {
        let message = format!("`{}` is missing", f.cursor().path.field("address"));
        let help = "add `address: 10.0.0.7`";
        f.error_at("address", codes::MISSING_FIELD, message, Some(help));
    }
}

impl WorkloadSpec {
    fn read(f: &mut Fields<'_>) -> Self {
        let spec = Self {
            at: f.cursor().at(),
            path: f.cursor().path.clone(),
            address: f.optional("address"),
            ports: ports(f),
            labels: labels(f, "labels"),
            network: f
                .later::<NonEmpty>(
                    "network",
                    codes::NETWORK_NOT_IN_FORCE,
                    "every endpoint is dialled directly",
                )
                .map(|NonEmpty(name)| name.into_boxed_str()),
            locality: f.optional("locality"),
            weight: f.optional("weight").unwrap_or(1),
            service_account: f
                .optional::<ServiceAccount>("serviceAccount")
                .map(|ServiceAccount(name)| name),
        };
        if let Some(WorkloadAddress::Unix(_)) = spec.address.as_deref() {
            let message =
                "endpoints on Unix sockets are not in force yet: the endpoint gets no requests";
            f.warn_at("address", codes::UNIX_ADDRESS_NOT_IN_FORCE, message, None);
            if !spec.ports.is_empty() {
                f.exclusive(&["address", "ports"]);
            }
        }
        spec
    }
}

fn ports(f: &mut Fields<'_>) -> BTreeMap<String, u16> {
    let entries = f
        .get("ports")
        .and_then(|cursor| cursor.entries())
        .unwrap_or_default();
    let mut ports = BTreeMap::new();
    for (name, cursor) in entries {
        let port = Port::decode(&cursor);
        if !is_dns_label(name) {
            let message = format!("`{}` is not the name of a port", shortened(name));
            let help = "use at most 63 letters, digits and inner `-`";
            let at = cursor.key_at();
            let diagnostic = Diagnostic::error(codes::INVALID_VALUE, at, &cursor.path, message);
            f.report(diagnostic.with_help(help));
        } else if let Some(Port(port)) = port {
            ports.insert(name.to_owned(), port);
        }
    }
    ports
}

/// It becomes a segment of a SPIFFE ID.
struct ServiceAccount(String);

impl Decode for ServiceAccount {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.note(|shape| shape.format(NAME));
        let text = cursor.text()?;
        if is_host_name(text) {
            Some(Self(text.to_owned()))
        } else {
            cursor.invalid("a service account's name")
        }
    }
}

impl Decode for Locality {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let mut parts = text.splitn(3, '/');
        if text.contains('*') || text.split('/').any(str::is_empty) {
            return cursor.invalid_with(
                "a locality",
                Some("write `region/zone/subzone`, or a beginning of it".to_owned()),
            );
        }
        Some(Self {
            region: parts.next().unwrap_or_default().into(),
            zone: parts.next().map(Box::from),
            subzone: parts.next().map(Box::from),
        })
    }
}

impl Decode for WorkloadAddress {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if let Ok(address) = text.parse() {
            return Some(Self::Ip(address));
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return match unix_path_problem(path) {
                None => Some(Self::Unix(path.to_owned())),
                Some(problem) => cursor.invalid_with("a Unix socket", Some(problem.to_owned())),
            };
        }
        if is_host_name(text) && !ends_in_a_number(text) {
            return Some(Self::Name(text.to_ascii_lowercase()));
        }
        let help = if text.contains(':') {
            "leave out the port: it comes from `ports`"
        } else {
            "write an IP address or a name"
        };
        cursor.invalid_with("an address", Some(help.to_owned()))
    }
}
