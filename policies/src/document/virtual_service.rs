//! VirtualService (`networking.istio.io`): where requests and connections for a host go.

use super::export_to::{Exported, export_to};
use super::l4_route::{L4Rule, TcpRoute, TlsRoute};
use super::{HttpRule, Meta, RouteAnnotations, Spanned, Visibility};
use crate::decode::{
    Cursor, Decode, DnsLabel, Document, Fields, HostText, Port, is_dns_label, is_host_name,
};
use crate::diagnostic::{Diagnostic, codes};
use crate::host::HostPattern;

/// Istio's VirtualService.
#[derive(Clone, Debug)]
pub struct VirtualService {
    /// What it is called.
    pub meta: Meta,
    /// `spec.hosts`, as written; empty makes it a delegate.
    pub hosts: Vec<Spanned<String>>,
    /// `spec.gateways`, as `name` or `namespace/name`; empty means `mesh`.
    pub gateways: Vec<Spanned<String>>,
    /// `spec.http`, first match wins.
    pub http: Vec<HttpRule>,
    /// `spec.tls`, first match wins: for TLS that nobody here ends.
    pub tls: Box<[L4Rule]>,
    /// `spec.tcp`, first match wins.
    pub tcp: Box<[L4Rule]>,
    /// `spec.exportTo`; empty is the mesh's default, which is `*`.
    pub export_to: Box<[Spanned<Visibility>]>,
}

/// Istio's `Destination`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// `host`, as written.
    pub host: Spanned<String>,
    /// `subset`.
    pub subset: Option<Spanned<String>>,
    /// `port.number`; the service's only port if not given.
    pub port: Option<Spanned<u16>>,
}

impl Document for VirtualService {
    fn spec(meta: Meta, f: &mut Fields<'_>) -> Option<Self> {
        let hosts: Vec<Spanned<String>> = f
            .non_empty_if_there::<Spanned<HostText>>("hosts")
            .unwrap_or_default()
            .into_iter()
            .map(|host| host.map(|HostText(text)| text))
            .collect();
        let gateways = gateway_refs(f);
        let http: Vec<HttpRule> = f.list("http");
        let tls = f.list("tls");
        let tcp = f.list("tcp");
        let export_to = export_to(f, &meta.namespace, Exported::Routes);
        let document = Self {
            meta,
            hosts,
            gateways,
            http,
            tls: tls.into_iter().map(|TlsRoute(rule)| rule).collect(),
            tcp: tcp.into_iter().map(|TcpRoute(rule)| rule).collect(),
            export_to,
        };
        if f.has("hosts") {
            check_hosts(f, &document);
        } else {
            check_delegate(f, &document);
        }
        check_claims(f, &document);
        RouteAnnotations::check(f, &document.meta);
        f.any_of(&["http", "tls", "tcp"]);
        Some(document)
    }
}

/// Sidecars route by no claims: they have no token of the calls that go out (Istio refuses it too).
fn check_claims(f: &Fields<'_>, document: &VirtualService) {
    let matches = document.http.iter().flat_map(|rule| &rule.matches);
    for found in matches {
        let gateways = if found.gateways.is_empty() {
            &document.gateways
        } else {
            &found.gateways
        };
        let for_mesh = gateways.is_empty() || gateways.iter().any(|name| name.value == "mesh");
        if let Some(claim) = found.first_claim().filter(|_| for_mesh) {
            let message =
                "a match on claims of tokens is for gateways only, and this one is for `mesh`";
            let (at, path) = (claim.at.clone(), &claim.path);
            f.report(
                Diagnostic::error(codes::FIELD_OUT_OF_PLACE, at, path, message)
                    .with_help("bind the match, or the document, to gateways with `gateways`"),
            );
        }
    }
}

fn check_hosts(f: &Fields<'_>, document: &VirtualService) {
    let error = |host: &Spanned<String>, code, message: String, help: Option<&str>| {
        let diagnostic = Diagnostic::error(code, host.at.clone(), &host.path, message);
        f.report(diagnostic.with_help_if(help.map(str::to_owned)));
    };
    let hosts = &document.hosts;
    let bound_to_mesh = document.gateways.is_empty()
        || document
            .gateways
            .iter()
            .any(|gateway| gateway.value == "mesh");
    if let Some(star) = hosts.iter().find(|host| host.value == "*" && bound_to_mesh) {
        let message = "the host `*` would take over all traffic of the mesh".to_owned();
        let help = "name the hosts, or bind the document to gateways with `gateways`";
        error(star, codes::INVALID_VALUE, message, Some(help));
    }
    let patterns: Vec<HostPattern> = hosts.iter().map(|host| HostPattern::parse(host)).collect();
    for (position, (host, pattern)) in hosts.iter().zip(&patterns).enumerate() {
        let earlier = hosts.iter().zip(&patterns).take(position);
        for (other, _) in earlier.filter(|(_, other)| other.intersect(pattern).is_some()) {
            let message = if other == host {
                format!("the host `{host}` is listed twice")
            } else {
                format!("the hosts `{other}` and `{host}` overlap")
            };
            error(host, codes::DUPLICATE_ENTRY, message, None);
        }
    }
    let matches = document.tls.iter().flat_map(|rule| &rule.matches);
    for sni in matches.flat_map(|found| &found.sni_hosts) {
        let wanted = HostPattern::parse(sni);
        if !patterns.iter().any(|pattern| pattern.covers(&wanted)) {
            let message = format!("the SNI `{sni}` is not among the document's hosts");
            let help = "add it to `hosts`";
            error(sni, codes::SNI_OUTSIDE_HOSTS, message, Some(help));
        }
    }
}

/// A document without hosts is a delegate, unless the hosts have been forgotten.
fn check_delegate(f: &mut Fields<'_>, document: &VirtualService) {
    let meta = &document.meta;
    if meta.name.is_empty() || !(f.has("http") || f.has("tls") || f.has("tcp")) {
        f.required::<HostText>("hosts");
        return;
    }
    for field in ["gateways", "tls", "tcp"] {
        if f.has(field) {
            let message = format!(
                "a VirtualService without `hosts` is a delegate, and that has no `{field}`"
            );
            let help = "add `hosts`, or leave the field to the document that delegates";
            f.error_at(field, codes::INVALID_DELEGATE, message, Some(help));
        }
    }
    for delegate in document
        .http
        .iter()
        .filter_map(|rule| rule.delegate.as_ref())
    {
        let message = "a delegate cannot delegate again";
        let at = delegate.at.clone();
        f.report(Diagnostic::error(
            codes::INVALID_DELEGATE,
            at,
            &delegate.path,
            message,
        ));
    }
}

impl Decode for Destination {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let host = f.required::<Spanned<HostText>>("host");
            let subset = f.optional::<Spanned<DnsLabel>>("subset");
            let port = f.optional::<PortNumber>("port");
            let host = host?.map(|HostText(text)| text);
            if host.contains('*') {
                let message = format!("a destination is one host, found the wildcard `{host}`");
                let at = host.at.clone();
                f.report(Diagnostic::error(
                    codes::INVALID_VALUE,
                    at,
                    &host.path,
                    message,
                ));
                return None;
            }
            Some(Self {
                host,
                subset: subset.map(|subset| subset.map(|DnsLabel(name)| name)),
                port: port.map(|PortNumber(port)| port),
            })
        })
    }
}

/// `port: {number: 80}`.
pub(crate) struct PortNumber(pub(crate) Spanned<u16>);

impl Decode for PortNumber {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            f.required::<Spanned<Port>>("number")
                .map(|port| Self(port.map(|Port(port)| port)))
        })
    }
}

/// The field `gateways`, of a document or of a match.
pub(crate) fn gateway_refs(f: &mut Fields<'_>) -> Vec<Spanned<String>> {
    f.list::<Spanned<GatewayRef>>("gateways")
        .into_iter()
        .map(|gateway| gateway.map(|GatewayRef(text)| text))
        .collect()
}

/// `mesh`, `name` or `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayRef(pub(crate) String);

impl Decode for GatewayRef {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        let text = cursor.text()?;
        if let Some((namespace, name)) = text.split_once('/') {
            if is_dns_label(namespace) && is_dns_label(name) {
                return Some(Self(text.to_owned()));
            }
        } else if is_dns_label(text) {
            return Some(Self(text.to_owned()));
        } else if let Some((name, rest)) = text.split_once('.').filter(|_| is_host_name(text)) {
            // Istio's old way: `gateway.namespace.svc.cluster.local`.
            let namespace = rest.split('.').next().unwrap_or(rest);
            let written = format!("{namespace}/{name}");
            cursor.deprecated_value(text, &written);
            return Some(Self(written));
        }
        cursor.invalid_with(
            "a gateway",
            Some("write `mesh`, `name` or `namespace/name`".to_owned()),
        )
    }
}
