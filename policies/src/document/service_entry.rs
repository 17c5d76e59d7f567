//! ServiceEntry (`networking.istio.io`): a service and where it lives.

mod check;

use super::export_to::{Exported, export_to};
use super::{LabelSelector, Meta, Protocol, Spanned, Visibility, WorkloadSpec};
use crate::decode::{
    CidrText, Cursor, Decode, DnsLabel, Document, Fields, HostText, NonEmpty, Port,
};
use crate::diagnostic::codes;
use crate::document::selector::WorkloadLabels;
use crate::document::workload_entry::Reachable;

/// Istio's ServiceEntry.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// What it is called.
    pub meta: Meta,
    /// `spec.hosts`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// `spec.addresses`: virtual addresses and blocks; not in force.
    pub addresses: Box<[Spanned<String>]>,
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
    /// `spec.exportTo`; empty is the mesh's default, which is `*`.
    pub export_to: Box<[Spanned<Visibility>]>,
    /// `spec.subjectAltNames`: one of them is in the certificate of each server that is reached by TLS.
    pub subject_alt_names: Box<[Spanned<String>]>,
}

/// Istio's `ServicePort`.
#[derive(Clone, Debug)]
pub struct ServiceEntryPort {
    /// `number`.
    pub number: Spanned<u16>,
    /// `name`.
    pub name: String,
    /// `protocol`; HTTP if not given.
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
    /// `NONE`, the default: the address that the client dialled; not in force.
    #[default]
    None,
    /// `STATIC`: the addresses of the endpoints.
    Static,
    /// `DNS`: names of endpoints, or the host itself, resolved; all answers are used.
    Dns,
    /// `DNS_ROUND_ROBIN`: as `DNS`, the first answer is used.
    DnsRoundRobin,
    /// `DYNAMIC_DNS`: the name that the client asked for, resolved; not in force.
    DynamicDns,
}

impl Resolution {
    /// As written in `resolution`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Static => "STATIC",
            Self::Dns => "DNS",
            Self::DnsRoundRobin => "DNS_ROUND_ROBIN",
            Self::DynamicDns => "DYNAMIC_DNS",
        }
    }
}

impl Document for ServiceEntry {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let hosts = f.non_empty::<Spanned<HostText>>("hosts");
        let addresses = f.later_list::<Spanned<CidrText>>(
            "addresses",
            codes::ADDRESSES_NOT_IN_FORCE,
            "services are found by name only",
        );
        let ports = f.list::<ServiceEntryPort>("ports");
        let location = f.or_default("location");
        let resolution = f.optional::<Spanned<Resolution>>("resolution");
        let endpoints = f.list::<Reachable>("endpoints");
        let workload_selector = f
            .optional("workloadSelector")
            .map(|WorkloadLabels(selector)| selector);
        let export_to = export_to(f, &meta.namespace, Exported::Service);
        let subject_alt_names = f.list::<Spanned<NonEmpty>>("subjectAltNames");
        if f.has("resolution") {
            // What cannot be read is not NONE.
            resolution.as_ref()?;
        }
        let resolution = resolution.unwrap_or_else(|| f.cursor().spanned(Resolution::None));
        let entry = Self {
            meta,
            hosts: hosts?
                .into_iter()
                .map(|host| host.map(|HostText(text)| text))
                .collect(),
            addresses: addresses
                .into_iter()
                .map(|address| address.map(|CidrText(text)| text))
                .collect(),
            ports,
            location,
            resolution,
            endpoints: endpoints.into_iter().map(|Reachable(spec)| spec).collect(),
            workload_selector,
            export_to,
            subject_alt_names: subject_alt_names
                .into_iter()
                .map(|name| name.map(|NonEmpty(name)| name))
                .collect(),
        };
        check::check(f, &entry);
        Some(entry)
    }
}

impl Decode for ServiceEntryPort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let number = f.required::<Spanned<Port>>("number");
            let name = f.required::<DnsLabel>("name");
            let protocol = f.optional("protocol");
            let target_port = f.optional::<Port>("targetPort");
            Some(Self {
                number: number?.map(|Port(port)| port),
                name: name?.0,
                // Istio would look into the traffic to tell; names and HTTP are what people mean.
                protocol: protocol.unwrap_or(Protocol::Http),
                target_port: target_port.map(|Port(port)| port),
            })
        })
    }
}

impl Decode for MeshLocation {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("MESH_EXTERNAL", Self::External),
            ("MESH_INTERNAL", Self::Internal),
        ])
    }
}

impl Decode for Resolution {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("NONE", Self::None),
            ("STATIC", Self::Static),
            ("DNS", Self::Dns),
            ("DNS_ROUND_ROBIN", Self::DnsRoundRobin),
            ("DYNAMIC_DNS", Self::DynamicDns),
        ])
    }
}
