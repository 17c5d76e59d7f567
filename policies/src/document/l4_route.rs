//! Istio's `TLSRoute` and `TCPRoute`: where connections go that are not looked into.

use std::collections::BTreeMap;

use super::virtual_service::gateway_refs;
use super::{Destination, Spanned};
use crate::decode::{CidrText, Count, Cursor, Decode, DnsLabel, Fields, HostText, Port, labels};
use crate::diagnostic::{Diagnostic, DocPath, codes};
use crate::source::Location;

/// One rule of `spec.tls` or `spec.tcp`.
#[derive(Clone, Debug)]
pub struct L4Rule {
    /// Where the rule starts.
    pub at: Location,
    /// Where it stands in its document.
    pub path: DocPath,
    /// `match`: alternatives; never empty in `tls`, empty matches everything in `tcp`.
    pub matches: Vec<L4Match>,
    /// `route`: weighted destinations, at least one.
    pub route: Vec<L4Destination>,
}

/// Istio's `TLSMatchAttributes` and `L4MatchAttributes`; all conditions must hold.
#[derive(Clone, Debug)]
pub struct L4Match {
    /// Where it stands.
    pub at: Location,
    /// `sniHosts` of a TLS match, at least one; empty in a TCP match.
    pub sni_hosts: Vec<Spanned<String>>,
    /// `destinationSubnets`: addresses or blocks that were dialled.
    pub destination_subnets: Vec<Spanned<String>>,
    /// `sourceSubnet` of a TCP match: the caller's address or block.
    pub source_subnet: Option<Spanned<String>>,
    /// `port`: the listener's.
    pub port: Option<Spanned<u16>>,
    /// `sourceLabels`: the calling workload.
    pub source_labels: BTreeMap<String, String>,
    /// `sourceNamespace`: the calling workload's namespace.
    pub source_namespace: Option<Spanned<String>>,
    /// `gateways`: replaces the document's list for this match.
    pub gateways: Vec<Spanned<String>>,
}

/// Istio's `RouteDestination`.
#[derive(Clone, Debug)]
pub struct L4Destination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`, relative to the other destinations; 0 if not given.
    pub weight: u32,
}

/// A rule of `spec.tls`.
pub(crate) struct TlsRoute(pub(crate) L4Rule);

/// A rule of `spec.tcp`.
pub(crate) struct TcpRoute(pub(crate) L4Rule);

impl Decode for TlsRoute {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let matches = f.non_empty::<TlsMatch>("match");
            let matches = matches.unwrap_or_default();
            rule(
                f,
                matches.into_iter().map(|TlsMatch(found)| found).collect(),
            )
            .map(Self)
        })
    }
}

impl Decode for TcpRoute {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let matches = f.list::<TcpMatch>("match");
            rule(
                f,
                matches.into_iter().map(|TcpMatch(found)| found).collect(),
            )
            .map(Self)
        })
    }
}

fn rule(f: &mut Fields<'_>, matches: Vec<L4Match>) -> Option<L4Rule> {
    let route: Vec<L4Destination> = f.non_empty("route")?;
    if route.len() > 1 && route.iter().all(|destination| destination.weight == 0) {
        let message = "every destination has weight 0, so none gets a connection";
        f.error_at("route", codes::INVALID_WEIGHTS, message, None);
    }
    Some(L4Rule {
        at: f.cursor().at(),
        path: f.cursor().path.clone(),
        matches,
        route,
    })
}

impl Decode for L4Destination {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let destination = f.required("destination");
            let weight = f.optional::<Count>("weight");
            Some(Self {
                destination: destination?,
                weight: weight.map_or(0, |Count(weight)| weight),
            })
        })
    }
}

struct TlsMatch(L4Match);

impl Decode for TlsMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let names = f.non_empty::<Spanned<HostText>>("sniHosts");
            let mut found = conditions(f);
            found.sni_hosts = names
                .unwrap_or_default()
                .into_iter()
                .map(|name| name.map(|HostText(text)| text))
                .collect();
            for name in &found.sni_hosts {
                if name.parse::<std::net::IpAddr>().is_ok() {
                    let message =
                        format!("`{name}` never matches: clients do not send IP addresses as SNI");
                    let at = name.at.clone();
                    let code = codes::FIELD_WITHOUT_EFFECT;
                    f.report(Diagnostic::warning(code, at, &name.path, message));
                }
            }
            Some(Self(found))
        })
    }
}

struct TcpMatch(L4Match);

impl Decode for TcpMatch {
    fn decode(cursor: &Cursor<'_>) -> Option<Self> {
        cursor.fields(|f| {
            let source_subnet = f.optional::<Spanned<CidrText>>("sourceSubnet");
            let mut found = conditions(f);
            found.source_subnet = source_subnet.map(|block| block.map(|CidrText(text)| text));
            Some(Self(found))
        })
    }
}

/// The conditions that both kinds of match have.
fn conditions(f: &mut Fields<'_>) -> L4Match {
    L4Match {
        at: f.cursor().at(),
        sni_hosts: Vec::new(),
        destination_subnets: f
            .list::<Spanned<CidrText>>("destinationSubnets")
            .into_iter()
            .map(|block| block.map(|CidrText(text)| text))
            .collect(),
        source_subnet: None,
        port: f
            .optional::<Spanned<Port>>("port")
            .map(|port| port.map(|Port(port)| port)),
        source_labels: labels(f, "sourceLabels"),
        source_namespace: f
            .optional::<Spanned<DnsLabel>>("sourceNamespace")
            .map(|name| name.map(|DnsLabel(name)| name)),
        gateways: gateway_refs(f),
    }
}
