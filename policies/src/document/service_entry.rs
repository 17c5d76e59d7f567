//! ServiceEntry (`networking.istio.io`): a service and where it lives.

use super::{LabelSelector, Meta, Protocol, Spanned, WorkloadSpec};
use crate::decode::{Cursor, Decode, Document, Fields, HostText, Port};
use crate::diagnostic::{Diagnostic, codes};
use crate::document::selector::WorkloadLabels;

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

impl Document for ServiceEntry {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let hosts = f.non_empty::<Spanned<HostText>>("hosts");
        f.unread(
            "addresses",
            codes::FIELD_NOT_IN_FORCE,
            "services are found by name only",
        );
        let ports = f.non_empty::<ServiceEntryPort>("ports");
        let location = f.get("location").and_then(|cursor| {
            cursor.one_of(&[
                ("MESH_EXTERNAL", MeshLocation::External),
                ("MESH_INTERNAL", MeshLocation::Internal),
            ])
        });
        let resolution = f.optional::<Spanned<Resolution>>("resolution");
        let endpoints = f.list("endpoints");
        let workload_selector = f
            .optional("workloadSelector")
            .map(|WorkloadLabels(selector)| selector);
        f.unread(
            "exportTo",
            codes::EXPORT_TO_NOT_IN_FORCE,
            "the service is visible in every namespace",
        );
        f.refused("subjectAltNames", "TLS to other servers is not in force");
        f.exclusive(&["endpoints", "workloadSelector"]);
        let resolution = resolution.unwrap_or_else(|| f.cursor().spanned(Resolution::None));
        check_resolution(f, &resolution);
        if let Some(ports) = &ports {
            check_ports(f, ports);
        }
        Some(Self {
            meta,
            hosts: hosts?
                .into_iter()
                .map(|host| host.map(|HostText(text)| text))
                .collect(),
            ports: ports?,
            location: location.unwrap_or_default(),
            resolution,
            endpoints,
            workload_selector,
        })
    }
}

fn check_resolution(f: &Fields<'_>, resolution: &Spanned<Resolution>) {
    let report = |message: &str, help: &str| {
        let path = f.cursor().path.field("resolution");
        f.report(
            Diagnostic::error(codes::INVALID_VALUE, resolution.at.clone(), path, message)
                .with_help(help),
        );
    };
    match resolution.value {
        Resolution::None if f.has("endpoints") || f.has("workloadSelector") => {
            report(
                "endpoints have no effect with resolution NONE",
                "set `resolution: STATIC`",
            );
        }
        Resolution::None => {
            let subject = f.cursor().context.subject.borrow().clone();
            let message = format!(
                "resolution NONE of {subject} is not in force yet: requests are answered with 503"
            );
            let path = f.cursor().path.field("resolution");
            let diagnostic = Diagnostic::warning(
                codes::FIELD_NOT_IN_FORCE,
                resolution.at.clone(),
                path,
                message,
            );
            f.report(diagnostic.with_help("use `resolution: DNS` or `resolution: STATIC`"));
        }
        Resolution::Static if !f.has("endpoints") && !f.has("workloadSelector") => {
            report(
                "resolution STATIC needs `endpoints` or `workloadSelector`",
                "list the endpoints' addresses",
            );
        }
        _ => {}
    }
}

fn check_ports(f: &Fields<'_>, ports: &[ServiceEntryPort]) {
    for (position, port) in ports.iter().enumerate() {
        let earlier = || ports.iter().take(position);
        let message = if earlier().any(|earlier| earlier.number == port.number) {
            format!("the port {} is listed twice", port.number)
        } else if !port.name.is_empty() && earlier().any(|earlier| earlier.name == port.name) {
            format!("the port name `{}` is used twice", port.name)
        } else {
            continue;
        };
        f.report(Diagnostic::error(
            codes::INVALID_VALUE,
            port.number.at.clone(),
            &port.number.path,
            message,
        ));
    }
}

impl Decode for ServiceEntryPort {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let number = f.required::<Spanned<Port>>("number");
            let name = f.required("name");
            let protocol = f.optional("protocol");
            let target_port = f.optional::<Port>("targetPort");
            Some(Self {
                number: number?.map(|Port(port)| port),
                name: name?,
                // Istio would look into the traffic to tell; names and HTTP are what people mean.
                protocol: protocol.unwrap_or(Protocol::Http),
                target_port: target_port.map(|Port(port)| port),
            })
        })
    }
}

impl Decode for Resolution {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.one_of(&[
            ("NONE", Self::None),
            ("STATIC", Self::Static),
            ("DNS", Self::Dns),
            ("DNS_ROUND_ROBIN", Self::DnsRoundRobin),
        ])
    }
}
