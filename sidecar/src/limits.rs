//! Asks whether the application may get one more request.

use std::borrow::Cow;
use std::net::SocketAddr;

use authz::jwt::VerifiedToken;
use dataplane::{LocalReply, Snapshot};
use http::Request;
use policies::document::rate_limit::LimitDirection;
use policies::rate_limit::LimitFacts;
use policies::route::{RequestView, TokenClaims};

use crate::admission::{client_of, scheme_of};
use crate::exchange::Exchange;
use crate::proxy::{Peer, Proxy, RequestBody};
use crate::tidy;

/// Counts an admitted request for the workload's `port`.
pub(crate) async fn check(
    proxy: &Proxy,
    snapshot: &Snapshot,
    (peer, port): (&Peer, u16),
    request: &Request<RequestBody>,
    token: Option<&VerifiedToken>,
    exchange: &mut Exchange,
) -> Result<(), Box<LocalReply>> {
    let direction = LimitDirection::Inbound;
    if snapshot.rate_limits.of(direction).is_empty() {
        return Ok(());
    }
    let mut host = Cow::Borrowed(tidy::host(request));
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_mut().make_ascii_lowercase();
    }
    let headers = request.headers();
    let facts = LimitFacts {
        request: RequestView {
            host: &host,
            port,
            path: request.uri().path(),
            query: request.uri().query(),
            method: request.method().as_str(),
            scheme: scheme_of(peer, headers),
            headers,
            claims: token.map(|token| -> &dyn TokenClaims { &token.claims }),
        },
        // What Istio calls the one route before an application.
        route: Some("default"),
        principal: peer.identity().map(|identity| identity.id.principal()),
        client: client_of(peer, headers),
        connection: (peer.remote, SocketAddr::new(peer.local.ip(), port)),
    };
    let limits = &proxy.access.limits;
    limits
        .check(snapshot, direction, &facts, &mut exchange.changes)
        .await
}
