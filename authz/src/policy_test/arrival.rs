//! A request of a test as a proxy sees it.

use std::borrow::Cow;

use identity::id::SpiffeId;
use policies::{
    document::policy_test::{TestProtocol, TestRequest},
    mesh::PathNormalization,
};

use crate::{
    claims::Claims,
    facts::{Facts, HttpFacts},
    path::{PathError, normalize},
};

/// A request with what a proxy makes of it: the identity that was proved, the canonical path.
#[derive(Debug)]
pub(super) struct Arrival<'r> {
    request: &'r TestRequest,
    peer: Option<SpiffeId>,
    /// None for opaque TCP.
    path: Option<Cow<'r, str>>,
}

impl<'r> Arrival<'r> {
    /// Without mTLS nobody proves the principal.
    pub(super) fn new(
        request: &'r TestRequest,
        mtls: bool,
        normalization: PathNormalization,
    ) -> Result<Self, PathError> {
        let path = match request.protocol {
            TestProtocol::Http | TestProtocol::Grpc => {
                Some(normalize(&request.path, normalization)?)
            }
            TestProtocol::Tcp => None,
        };
        let principal = request.principal.as_ref().filter(|_| mtls);
        // What is no SPIFFE ID was refused before anything is judged.
        let peer = principal.and_then(|principal| spiffe_id(principal).ok());
        Ok(Self {
            request,
            peer,
            path,
        })
    }

    pub(super) fn facts<'a>(&'a self, claims: Option<&'a Claims>) -> Facts<'a> {
        let request = self.request;
        Facts {
            peer: self.peer.as_ref(),
            source_ip: request.source_ip,
            remote_ip: request.remote_ip,
            destination_ip: request.destination_ip,
            destination_port: request.destination_port,
            sni: request.sni.as_deref(),
            http: self.path.as_deref().map(|path| HttpFacts {
                method: &request.method,
                host: &request.host,
                path,
                headers: &request.headers,
                claims,
            }),
        }
    }
}

/// The SPIFFE ID of a principal as policies write it.
pub(super) fn spiffe_id(principal: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(&format!("spiffe://{principal}")).map_err(|error| error.to_string())
}
