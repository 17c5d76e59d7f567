//! Service ports whose bytes nobody looks into (TCP, TLS, HTTPS): which cluster each leads to.

use std::collections::HashMap;

use thiserror::Error;

use super::RouteTable;
use super::hosts::HostTable;
use crate::cluster::ClusterIndex;
use crate::host::HostPattern;

/// The clusters of opaque ports by host name and port.
#[derive(Debug, Default)]
pub(crate) struct OpaqueTable(HashMap<Box<str>, Vec<(u16, ClusterIndex)>>);

/// Why bytes cannot be sent to a host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpaqueError {
    /// No document declares such a service with such a port.
    #[error("no document declares a service with this host and port")]
    Unknown,
    /// The port is declared, but its requests are routed one by one.
    #[error("the port is declared as HTTP: its requests go through `outbound`")]
    Http,
}

impl OpaqueTable {
    /// Gives a name and port its cluster; the one that was there before, if any, stays. Wildcards name no single service.
    pub(super) fn insert(&mut self, pattern: &HostPattern, port: u16, cluster: ClusterIndex) {
        let HostPattern::Exact(host) = pattern else {
            return;
        };
        let ports = self.0.entry(host.clone()).or_default();
        if !ports.iter().any(|(known, _)| *known == port) {
            ports.push((port, cluster));
        }
    }

    fn get(&self, host: &str, port: u16) -> Option<ClusterIndex> {
        let ports = self.0.get(host)?;
        let found = ports.iter().find(|(known, _)| *known == port)?;
        Some(found.1)
    }
}

impl RouteTable {
    /// The cluster behind an opaque port of a service, by any of the names that the workload knows the service by.
    /// Only sidecars have such ports.
    pub fn opaque(&self, host: &str, port: u16) -> Result<ClusterIndex, OpaqueError> {
        let host = host.to_ascii_lowercase();
        if let Some(cluster) = self.opaque.get(&host, port) {
            return Ok(cluster);
        }
        let has = |table: &HostTable| table.get(&host).is_some();
        let mut listeners = self.listeners.iter();
        if listeners.any(|(number, table)| *number == port && has(table)) {
            Err(OpaqueError::Http)
        } else {
            Err(OpaqueError::Unknown)
        }
    }
}
