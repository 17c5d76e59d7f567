//! Whether the servers of Gateways that one workload might have together contradict each other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, Server, Spanned};
use crate::host::HostPattern;
use crate::listener::{GatewayServer, ListenerTls, compile_server, is_tls};
use crate::protocol::Protocol;

/// The labels by which a Gateway chooses its workloads.
type Selector = BTreeMap<String, String>;

/// What is known about one port, by the selectors of the Gateways that open it.
#[derive(Default)]
struct Port<'a> {
    protocols: Vec<(&'a Selector, &'a Spanned<Protocol>)>,
    hosts: HashMap<HostPattern, Vec<Claim<'a>>>,
}

/// A TLS host that a server has.
struct Claim<'a> {
    selector: &'a Selector,
    tls: Option<ListenerTls>,
    /// What is spoken behind TLS.
    protocol: Protocol,
    server: &'a Server,
}

/// Finds servers that contradict each other on a port.
pub(super) fn check(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    let mut ports: HashMap<u16, Port<'_>> = HashMap::new();
    for gateway in &documents.gateways {
        let name: Arc<str> = gateway.meta.qualified().into();
        for server in &gateway.servers {
            let port = ports.entry(*server.port.number).or_default();
            found.extend(port.add(&gateway.selector, server, &name));
        }
    }
}

impl<'a> Port<'a> {
    fn add(
        &mut self,
        selector: &'a Selector,
        server: &'a Server,
        gateway: &Arc<str>,
    ) -> Option<Diagnostic> {
        let protocol = &server.port.protocol;
        let mut others = self.protocols.iter();
        let meets = others.find(|(other, theirs)| {
            opening(theirs.value) != opening(**protocol) && may_meet(selector, other)
        });
        if let Some((_, first)) = meets {
            return Some(conflict(server, first));
        }
        let known = |(other, theirs): &(&Selector, &Spanned<Protocol>)| {
            *other == selector && opening(theirs.value) == opening(**protocol)
        };
        if !self.protocols.iter().any(known) {
            self.protocols.push((selector, protocol));
        }
        if !is_tls(**protocol) {
            return None;
        }
        let GatewayServer {
            hosts,
            tls,
            protocol,
            ..
        } = compile_server(server, gateway);
        // HTTPS that is passed on is TLS.
        let protocol = match tls {
            Some(ListenerTls::Passed) => Protocol::Tls,
            _ => protocol,
        };
        let mut finding = None;
        for host in hosts {
            let claims = self.hosts.entry(host).or_default();
            let other = claims.iter().find(|claim| {
                (&claim.tls, claim.protocol) != (&tls, protocol)
                    && may_meet(selector, claim.selector)
            });
            if let Some(other) = other {
                finding.get_or_insert_with(|| ambiguous(server, other));
            } else if !claims.iter().any(|claim| {
                claim.selector == selector && (&claim.tls, claim.protocol) == (&tls, protocol)
            }) {
                claims.push(Claim {
                    selector,
                    tls: tls.clone(),
                    protocol,
                    server,
                });
            }
        }
        finding
    }
}

/// Whether one workload could have the labels of both selectors.
fn may_meet(one: &Selector, other: &Selector) -> bool {
    one == other
        || one
            .iter()
            .all(|(name, value)| other.get(name).is_none_or(|theirs| theirs == value))
}

/// How the connections of a port begin; nothing else can tell its servers apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Http,
    Tls,
    Opaque,
}

fn opening(protocol: Protocol) -> Opening {
    match protocol {
        Protocol::Tcp => Opening::Opaque,
        protocol if is_tls(protocol) => Opening::Tls,
        _ => Opening::Http,
    }
}

/// Two ways to begin on one port.
fn conflict(server: &Server, first: &Spanned<Protocol>) -> Diagnostic {
    let port = &server.port;
    let message = format!(
        "port {} cannot speak {} here and {} at {}",
        port.number, port.protocol, first.value, first.at
    );
    Diagnostic::error(
        codes::CONFLICTING_SERVERS,
        port.protocol.at.clone(),
        &port.protocol.path,
        message,
    )
    .with_help("give one of them another port, or Gateways that are meant for different workloads different selectors")
}

/// One host with two certificates on one port: the handshake could not tell which is meant.
fn ambiguous(server: &Server, other: &Claim<'_>) -> Diagnostic {
    let theirs = &other.server;
    let shared = server
        .hosts
        .iter()
        .find(|host| theirs.hosts.contains(host))
        .or_else(|| server.hosts.first())
        .map_or("*", |host| host.as_str());
    let message = format!(
        "the host `{shared}` on port {} has another TLS configuration at {}",
        server.port.number, theirs.at
    );
    let at = server
        .tls
        .as_ref()
        .map_or(&server.at, |tls| &tls.at)
        .clone();
    Diagnostic::error(
        codes::CONFLICTING_SERVERS,
        at,
        server.path.field("tls"),
        message,
    )
    .with_help("write one server for the host, or the same `tls` at both places")
}
