//! `registry` of the process files: where the mesh's registry is, and what a sidecar says there.

use std::net::{IpAddr, SocketAddr};

use identity::{SpiffeId, SpiffeIdError, TrustDomain};
use serde::Deserialize;

/// The service account of the registry in the root namespace, unless the process file names another identity.
pub const SERVICE_ACCOUNT: &str = "portcullis-registry";

/// `registry`. Absent, documents alone say where services are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryConfig {
    /// Where the registry listens.
    pub address: SocketAddr,
    /// The registry's SPIFFE ID; nobody else is believed.
    pub identity: Option<String>,
    /// What a sidecar says of its workload; absent, it says nothing and only listens.
    pub register: Option<RegisterConfig>,
}

/// `registry.register`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegisterConfig {
    /// Where others reach the sidecar, if not at the address on which it listens.
    pub address: Option<IpAddr>,
    /// How ports of `inbound` are called in the service; those that are not listed go by their own number and protocol.
    pub ports: Vec<RegisterPort>,
}

/// `registry.register.ports`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterPort {
    /// The `port` of an `inbound`.
    pub inbound: u16,
    /// The service's port; `inbound` if not given.
    pub number: Option<u16>,
    /// The service's name of the port, as in ServiceEntries; the protocol if not given.
    pub name: Option<String>,
}

impl RegistryConfig {
    /// The identity that the registry has to prove.
    ///
    /// # Errors
    /// When the configured one is no SPIFFE ID.
    pub fn expected(
        &self,
        trust_domain: &TrustDomain,
        root_namespace: &str,
    ) -> Result<SpiffeId, SpiffeIdError> {
        match &self.identity {
            Some(id) => SpiffeId::parse(id),
            None => SpiffeId::for_workload(trust_domain, root_namespace, SERVICE_ACCOUNT),
        }
    }
}
