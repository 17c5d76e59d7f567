//! Connections whose bytes nobody looks into: which clusters they lead to, by `tcp` and `tls` routes.

mod compile;
mod table;

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

pub(super) use compile::{Servers, of_port};
pub(crate) use compile::{holds, implied_port};
pub(crate) use table::OpaqueTable;

use super::hosts::HostTable;
use super::{RouteTable, TableKind, WeightedClusters};
use crate::cidr::Cidr;
use crate::host::HostPattern;
use crate::source::Location;

/// What routing looks at of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionView<'a> {
    /// The server name of its TLS handshake in lower case, where it begins with one.
    pub sni: Option<&'a str>,
    /// The caller's address.
    pub source: IpAddr,
    /// The address that was dialled.
    pub destination: IpAddr,
}

/// Where connections go that one rule is about.
#[derive(Clone, Debug)]
pub struct OpaqueRoute {
    /// `namespace/name` of its VirtualService; the service's host for the route that a service has without one.
    pub virtual_service: Arc<str>,
    /// Where it is written.
    pub at: Location,
    /// Where the connections go; none if no destination can be reached by this proxy.
    pub clusters: Option<WeightedClusters>,
}

/// The rules of one host and port, in order.
#[derive(Clone, Debug, Default)]
pub struct OpaqueRules(Vec<OpaqueRule>);

/// One alternative of a rule: all of its conditions must hold.
#[derive(Clone, Debug)]
struct OpaqueRule {
    /// One of them; empty is any.
    sni: Box<[HostPattern]>,
    /// One of them; empty is any.
    destinations: Box<[Cidr]>,
    source: Option<Cidr>,
    route: Arc<OpaqueRoute>,
}

impl OpaqueRule {
    fn matches(&self, connection: &ConnectionView<'_>) -> bool {
        let named = self.sni.is_empty()
            || connection
                .sni
                .is_some_and(|sni| self.sni.iter().any(|wanted| wanted.matches(sni)));
        let dialled = self.destinations.is_empty()
            || (self.destinations.iter()).any(|block| block.contains(connection.destination));
        named && dialled && (self.source).is_none_or(|block| block.contains(connection.source))
    }

    fn is_catch_all(&self) -> bool {
        self.sni.is_empty() && self.destinations.is_empty() && self.source.is_none()
    }
}

impl OpaqueRules {
    /// Whether the server name of the client's TLS handshake has to be known.
    pub fn look_at_sni(&self) -> bool {
        self.0.iter().any(|rule| !rule.sni.is_empty())
    }

    /// The route of a connection: the first that matches.
    pub fn find(&self, connection: &ConnectionView<'_>) -> Option<&OpaqueRoute> {
        let mut rules = self.0.iter();
        let rule = rules.find(|rule| rule.matches(connection))?;
        Some(&rule.route)
    }
}

/// Why bytes cannot be sent to a host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpaqueError {
    /// No document declares such a service with such a port.
    #[error("no document declares a service with this host and port")]
    Unknown,
    /// The service is declared, but this workload does not see it.
    #[error(
        "the service is not visible to this workload: see its `exportTo`, and the workload's Sidecar"
    )]
    Hidden,
    /// The port is declared, but its requests are routed one by one.
    #[error("the port is declared as HTTP: its requests go through `outbound`")]
    Http,
}

impl RouteTable {
    /// The rules for an opaque port of a service, by any of the names that the workload knows the service by (sidecars).
    ///
    /// # Errors
    /// The workload knows no such service, or not as an opaque one.
    pub fn opaque(&self, host: &str, port: u16) -> Result<&OpaqueRules, OpaqueError> {
        let host = host.to_ascii_lowercase();
        if let Some(rules) = self.opaque.get(port, Some(&host)) {
            return Ok(rules);
        }
        let has = |table: &HostTable| table.get(&host).is_some();
        let mut listeners = self.listeners.iter();
        if listeners.any(|(number, table)| *number == port && has(table)) {
            Err(OpaqueError::Http)
        } else if self.hidden.contains_key(&*host) {
            Err(OpaqueError::Hidden)
        } else {
            Err(OpaqueError::Unknown)
        }
    }

    /// The rules for connections to an opaque port of a gateway, by the server name of their TLS handshake.
    pub fn opaque_at(&self, port: u16, sni: Option<&str>) -> Option<&OpaqueRules> {
        (self.kind == TableKind::Gateway)
            .then(|| self.opaque.get(port, sni))
            .flatten()
    }
}

#[cfg(test)]
mod tests;
