//! Opaque rules by port and host.

use std::collections::BTreeMap;

use super::OpaqueRules;
use crate::host::HostPattern;
use crate::route::hosts::HostTable;

/// The rules of opaque ports, by port and host name: of the service, or of the TLS handshake.
#[derive(Debug, Default)]
pub(crate) struct OpaqueTable {
    ports: BTreeMap<u16, HostTable>,
    rules: Vec<OpaqueRules>,
}

impl OpaqueTable {
    /// Gives hosts of a port their rules; those that a host had before, if any, stay.
    pub(crate) fn insert(&mut self, port: u16, hosts: &[HostPattern], rules: OpaqueRules) {
        let index = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        self.rules.push(rules);
        let table = self.ports.entry(port).or_default();
        for host in hosts {
            table.insert(host, index);
        }
    }

    /// The rules of a host in lower case; without a host those for any.
    pub(crate) fn get(&self, port: u16, host: Option<&str>) -> Option<&OpaqueRules> {
        // No host name is empty: only `*` is left.
        let index = self.ports.get(&port)?.get(host.unwrap_or_default())?;
        self.rules.get(usize::try_from(index).ok()?)
    }

    /// Whether some port has rules for a host.
    pub(crate) fn knows(&self, host: &str) -> bool {
        self.ports.values().any(|table| table.get(host).is_some())
    }
}
