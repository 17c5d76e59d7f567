//! Clusters whose endpoints are names, once the names are resolved: each address is an endpoint of its own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Cluster, ClusterSet, Endpoint, EndpointAddress, Resolution};

impl Cluster {
    /// The names that have to be resolved continuously: `resolution: DNS` balances over every address of them.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.endpoints
            .iter()
            .filter_map(|endpoint| match &endpoint.address {
                EndpointAddress::Name { host, .. } => Some(host),
                EndpointAddress::Socket(_) => None,
            })
    }
}

impl ClusterSet {
    /// Replaces every name under `resolution: DNS` by its addresses, as far as `answers` knows them: an endpoint for each,
    /// with what the name's endpoint has. A name that is not resolved yet stays; it is resolved when somebody asks.
    pub fn resolve(&mut self, answers: impl Fn(&str) -> Option<Arc<[IpAddr]>>) {
        for cluster in &mut self.clusters {
            if cluster.resolution != Resolution::Dns || cluster.names().next().is_none() {
                continue;
            }
            let mut resolved: Vec<Endpoint> = Vec::new();
            for endpoint in &cluster.endpoints {
                let EndpointAddress::Name { host, port } = &endpoint.address else {
                    resolved.push(endpoint.clone());
                    continue;
                };
                match answers(host).filter(|addresses| !addresses.is_empty()) {
                    None => resolved.push(endpoint.clone()),
                    Some(addresses) => {
                        for ip in addresses.iter() {
                            let address = EndpointAddress::Socket(SocketAddr::new(*ip, *port));
                            // Two names may lead to one server.
                            if resolved.iter().all(|known| known.address != address) {
                                let endpoint = endpoint.clone();
                                resolved.push(Endpoint {
                                    address,
                                    ..endpoint
                                });
                            }
                        }
                    }
                }
            }
            cluster.endpoints = resolved.into();
        }
    }
}
