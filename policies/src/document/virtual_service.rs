//! VirtualService (`networking.istio.io`): where requests for a host go.

use super::{HttpRule, Meta, Spanned};
use crate::decode::{Cursor, Decode, Document, Fields, HostText, Port, is_host_name};
use crate::diagnostic::{Diagnostic, codes};

/// Istio's VirtualService.
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// What it is called.
    pub meta: Meta,
    /// `spec.hosts`, as written.
    pub hosts: Vec<Spanned<String>>,
    /// `spec.gateways`, as written; empty means `mesh`.
    pub gateways: Vec<Spanned<String>>,
    /// `spec.http`, first match wins.
    pub http: Vec<HttpRule>,
}

/// Istio's `Destination`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `host`, as written.
    pub host: Spanned<String>,
    /// `subset`.
    pub subset: Option<Spanned<String>>,
    /// `port.number`.
    pub port: Option<Spanned<u16>>,
}

impl Document for VirtualService {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let hosts = f.non_empty_if_there::<Spanned<HostText>>("hosts");
        let gateways = f.list::<Spanned<GatewayRef>>("gateways");
        let http: Vec<HttpRule> = f.list("http");
        f.unread(
            "tls",
            codes::TLS_ROUTES_NOT_IN_FORCE,
            "TLS connections are not routed by SNI",
        );
        f.unread(
            "tcp",
            codes::TCP_ROUTES_NOT_IN_FORCE,
            "TCP connections are not routed",
        );
        f.unread(
            "exportTo",
            codes::EXPORT_TO_NOT_IN_FORCE,
            "the routes are visible in every namespace",
        );
        if !f.has("hosts") {
            // Only a delegate, which other documents name, has no hosts; and then it has no gateways either.
            if gateways.is_empty() && f.has("http") && !meta.name.is_empty() {
                let message = format!(
                    "{} `{}` has no hosts, so only `delegate` could use it, which is not in force yet: it has no effect",
                    meta.kind,
                    meta.qualified()
                );
                f.cursor().warn(codes::DELEGATE_NOT_IN_FORCE, message, None);
            } else {
                f.required::<HostText>("hosts");
            }
        }
        f.any_of(&["http", "tls", "tcp"]);
        let hosts = hosts?;
        let bound_to_mesh =
            gateways.is_empty() || gateways.iter().any(|gateway| gateway.0 == "mesh");
        if let Some(star) = hosts.iter().find(|host| host.0 == "*" && bound_to_mesh) {
            let message = "the host `*` would take over all traffic of the mesh";
            let help = "name the hosts, or bind the document to gateways with `gateways`";
            f.report(
                Diagnostic::error(codes::INVALID_VALUE, star.at.clone(), &star.path, message)
                    .with_help(help),
            );
        }
        Some(Self {
            meta,
            hosts: hosts
                .into_iter()
                .map(|host| host.map(|HostText(text)| text))
                .collect(),
            gateways: gateways
                .into_iter()
                .map(|gateway| gateway.map(|GatewayRef(text)| text))
                .collect(),
            http,
        })
    }
}

impl Decode for Destination {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let host = f.required::<Spanned<HostText>>("host");
            let subset = f.optional("subset");
            let port = f.optional::<PortNumber>("port");
            let host = host?.map(|HostText(text)| text);
            if host.contains('*') {
                let message = format!("a destination is one host, found the wildcard `{host}`");
                f.report(Diagnostic::error(
                    codes::INVALID_VALUE,
                    host.at.clone(),
                    &host.path,
                    message,
                ));
                return None;
            }
            Some(Self {
                host,
                subset,
                port: port.map(|PortNumber(port)| port),
            })
        })
    }
}

/// `port: {number: 80}`.
struct PortNumber(Spanned<u16>);

impl Decode for PortNumber {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            f.required::<Spanned<Port>>("number")
                .map(|port| Self(port.map(|Port(port)| port)))
        })
    }
}

/// `mesh`, `name` or `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayRef(pub(crate) String);

impl Decode for GatewayRef {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() <= 2 && parts.iter().all(|part| is_host_name(part)) {
            return Some(Self(text.to_owned()));
        }
        cursor.invalid_with(
            "a gateway",
            Some("write `mesh`, `name` or `namespace/name`".to_owned()),
        )
    }
}
