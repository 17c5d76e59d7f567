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
    plaintext: Vec<(&'a Selector, &'a Spanned<Protocol>)>,
    tls: Vec<(&'a Selector, &'a Spanned<Protocol>)>,
    hosts: HashMap<HostPattern, Vec<Claim<'a>>>,
}

/// A TLS host that a server has.
struct Claim<'a> {
    selector: &'a Selector,
    tls: Option<ListenerTls>,
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
        let (own, other) = if is_tls(**protocol) {
            (&mut self.tls, &self.plaintext)
        } else {
            (&mut self.plaintext, &self.tls)
        };
        let meets = other.iter().find(|(other, _)| may_meet(selector, other));
        if let Some((_, first)) = meets {
            return Some(conflict(server, first));
        }
        if !own.iter().any(|(known, _)| *known == selector) {
            own.push((selector, protocol));
        }
        if !is_tls(**protocol) {
            return None;
        }
        let GatewayServer { hosts, tls, .. } = compile_server(server, gateway);
        let mut finding = None;
        for host in hosts {
            let claims = self.hosts.entry(host).or_default();
            let other = claims
                .iter()
                .find(|claim| claim.tls != tls && may_meet(selector, claim.selector));
            if let Some(other) = other {
                finding.get_or_insert_with(|| ambiguous(server, other));
            } else if !claims
                .iter()
                .any(|claim| claim.selector == selector && claim.tls == tls)
            {
                claims.push(Claim {
                    selector,
                    tls: tls.clone(),
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

/// Plaintext and TLS on one port.
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
