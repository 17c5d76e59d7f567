//! Who asks, and over which connection.

use std::net::{IpAddr, SocketAddr};

use authz::{Facts, HttpFacts};
use identity::SpiffeId;

use crate::ext_authz::{CheckHttp, CheckRequest};

/// The facts of the connection that a request came over, and the client's address behind it.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The peer's verified identity.
    pub identity: Option<&'a SpiffeId>,
    /// The direct TCP peer.
    pub source: SocketAddr,
    /// The client as far as proxies in front are trusted.
    pub remote_ip: IpAddr,
    /// Our end of the connection, with the port that documents speak of.
    pub destination: SocketAddr,
    /// The server name of the TLS handshake, in lower case.
    pub sni: Option<&'a str>,
    /// `http` or `https`, as the client spoke.
    pub scheme: &'a str,
    /// Our own identity.
    pub own: Option<&'a SpiffeId>,
}

impl<'a> Caller<'a> {
    /// What the policies judge. An IPv4 address in IPv6's clothes counts as what it is.
    pub(super) fn facts(&self, http: Option<HttpFacts<'a>>) -> Facts<'a> {
        Facts {
            peer: self.identity,
            source_ip: self.source.ip().to_canonical(),
            remote_ip: self.remote_ip.to_canonical(),
            destination_ip: self.destination.ip().to_canonical(),
            destination_port: self.destination.port(),
            sni: self.sni,
            http,
        }
    }

    /// What a provider is told.
    pub(super) const fn check<'b>(&self, http: Option<CheckHttp<'b>>) -> CheckRequest<'b>
    where
        'a: 'b,
    {
        CheckRequest {
            source_principal: self.identity,
            destination_principal: self.own,
            source: self.source,
            destination: self.destination,
            sni: self.sni,
            http,
        }
    }
}
