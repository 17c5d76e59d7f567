//! What limits look at.

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

use crate::host::split_port;
use crate::route::RequestView;

/// A request, as limits look at it; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct LimitFacts<'a> {
    /// What routing looks at, with the claims of the verified token.
    pub request: RequestView<'a>,
    /// The name of the HTTP route that it takes; `default` before an application, as Istio calls it; none for routes
    /// without a name.
    pub route: Option<&'a str>,
    /// The caller's verified identity without `spiffe://`, as AuthorizationPolicies write it: `cluster.local/ns/a/sa/b`.
    pub principal: Option<&'a str>,
    /// The client's address, as far as proxies in front are believed (`remote.ip`).
    pub client: IpAddr,
    /// Both ends of the connection that it came over.
    pub connection: (SocketAddr, SocketAddr),
}

impl<'a> LimitFacts<'a> {
    /// The host without a port.
    pub(super) fn host(&self) -> &'a str {
        split_port(self.request.host).0
    }

    /// The first value of a header, or of what HTTP/2 has as one.
    pub(super) fn header(&self, name: &str) -> Option<&'a [u8]> {
        match name {
            // Without the query: who adds one must not slip out of a limit.
            ":path" => Some(self.request.path.as_bytes()),
            ":method" => Some(self.request.method.as_bytes()),
            ":authority" | "host" => Some(self.request.host.as_bytes()),
            ":scheme" => Some(self.request.scheme.as_bytes()),
            name => self.request.headers.get(name).map(HeaderValue::as_bytes),
        }
    }
}
