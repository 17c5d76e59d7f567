//! Asks whether a tidy request from the mesh may pass.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use authz::jwt::VerifiedToken;
use dataplane::Snapshot;
use dataplane::access::{Caller, Judged, Peeked, Refusal};
use dataplane::headers::{FORWARDED_PROTO, address_by_gateway, wants_upgrade};
use http::{HeaderMap, Method, Request, Version};

use crate::exchange::Exchange;
use crate::proxy::{Peer, Proxy, RequestBody};
use crate::tidy;

/// Judges a request for the workload's `port`. Gives back its verified token.
pub(crate) async fn admit(
    proxy: &Proxy,
    snapshot: &Snapshot,
    peer: &Peer,
    port: u16,
    request: &mut Request<RequestBody>,
    exchange: &mut Exchange,
) -> Result<Option<Arc<VerifiedToken>>, Box<Refusal>> {
    let caller = Caller {
        identity: peer.identity().map(|identity| &identity.id),
        source: peer.remote,
        remote_ip: client_of(peer, request.headers()),
        destination: SocketAddr::new(peer.local.ip(), port),
        sni: peer.sni.as_deref(),
        scheme: scheme_of(peer, request.headers()),
        own: Some(&proxy.id),
    };
    let mut arriving = Arriving(request);
    match proxy.access.admit(snapshot, &caller, &mut arriving).await {
        Ok(admitted) => {
            exchange.note(|record| admitted.note.write(record));
            exchange.changes = admitted.response;
            Ok(admitted.token)
        }
        Err(refused) => {
            exchange.note(|record| refused.note.write(record));
            Err(Box::new(refused.refusal))
        }
    }
}

/// `remote.ip`: behind a gateway what the gateway says, else the peer (istio-semantics 9.1).
pub(crate) fn client_of(peer: &Peer, headers: &HeaderMap) -> IpAddr {
    let source = peer.remote.ip().to_canonical();
    if peer.is_gateway {
        address_by_gateway(headers, source)
    } else {
        source
    }
}

/// How the client spoke: behind a gateway as the gateway says. Inside the mesh URLs begin with `http`.
pub(crate) fn scheme_of(peer: &Peer, headers: &HeaderMap) -> &'static str {
    let said = headers.get(&FORWARDED_PROTO).filter(|_| peer.is_gateway);
    match said {
        Some(proto) if proto.as_bytes().eq_ignore_ascii_case(b"https") => "https",
        _ => "http",
    }
}

/// A tidy request.
struct Arriving<'a>(&'a mut Request<RequestBody>);

impl Judged for Arriving<'_> {
    fn version(&self) -> Version {
        self.0.version()
    }

    fn method(&self) -> &Method {
        self.0.method()
    }

    fn host(&self) -> &str {
        tidy::host(self.0)
    }

    fn path(&self) -> &str {
        self.0.uri().path()
    }

    fn query(&self) -> Option<&str> {
        self.0.uri().query()
    }

    fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.0.headers_mut()
    }

    fn set_query(&mut self, query: Option<String>) {
        let path = self.0.uri().path();
        let target = match query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let bare = path.to_owned();
        // Should it make no target, nothing of the query goes on: no token may.
        if tidy::set_target(self.0, target).is_err() {
            drop(tidy::set_target(self.0, bare));
        }
    }

    async fn peek(&mut self, max: usize) -> io::Result<Peeked> {
        if wants_upgrade(self.0.headers()).is_some() {
            // What follows a handshake is no body.
            return Ok(Peeked::nothing());
        }
        self.0.body_mut().peek(max).await.map_err(io::Error::other)
    }
}
