//! Asks whether a tidy request may pass: AuthorizationPolicy, tokens and external providers at the edge.

use std::io;
use std::net::SocketAddr;

use dataplane::Snapshot;
use dataplane::access::{Admitted, Caller, Judged, Peeked};
use http::{HeaderMap, Method, Version};
use pingora::protocols::http::ServerSession;

use crate::exchange::{Exchange, Stop};
use crate::gateway::Gateway;
use crate::session_body::{Preview, tell_to_go_on};
use crate::tidy::Tidied;

/// Judges the request. The documents speak of the logical port; a client outside the mesh has no identity that they
/// could name.
pub(crate) async fn admit<'s>(
    gateway: &Gateway,
    exchange: &mut Exchange<'_>,
    snapshot: &'s Snapshot,
    request: &mut Tidied,
) -> Result<Admitted<'s>, Stop> {
    let connection = exchange.connection;
    let caller = Caller {
        identity: None,
        source: connection.peer,
        remote_ip: request.client,
        destination: SocketAddr::new(connection.local.ip(), connection.port),
        sni: connection.sni(),
        scheme: connection.scheme(),
        own: gateway.identity.as_ref(),
    };
    let mut judged = Arriving {
        request,
        session: exchange.session,
    };
    match gateway.access.admit(snapshot, &caller, &mut judged).await {
        Ok(mut admitted) => {
            exchange.record.admission(&admitted.note);
            exchange.changes = std::mem::take(&mut admitted.response);
            judged.request.token.clone_from(&admitted.token);
            Ok(admitted)
        }
        Err(refused) => {
            exchange.record.admission(&refused.note);
            Err(Stop::Refused(Box::new(refused.refusal)))
        }
    }
}

/// A request whose head is tidy and whose body waits in the session.
struct Arriving<'a> {
    request: &'a mut Tidied,
    session: &'a mut ServerSession,
}

impl Judged for Arriving<'_> {
    fn version(&self) -> Version {
        self.session.req_header().version
    }

    fn method(&self) -> &Method {
        &self.request.method
    }

    fn host(&self) -> &str {
        &self.request.host
    }

    fn path(&self) -> &str {
        &self.request.path
    }

    fn query(&self) -> Option<&str> {
        self.request.query.as_deref()
    }

    fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.request.headers
    }

    fn set_query(&mut self, query: Option<String>) {
        self.request.query = query;
    }

    async fn peek(&mut self, max: usize) -> io::Result<Peeked> {
        if self.request.websocket {
            // What follows a handshake is no body.
            return Ok(Peeked::nothing());
        }
        if std::mem::take(&mut self.request.expects_continue) {
            tell_to_go_on(self.session)
                .await
                .map_err(io::Error::other)?;
        }
        let preview = Preview::of(self.session, max)
            .await
            .map_err(io::Error::other)?;
        let peeked = preview.show(max);
        self.request.preview = preview;
        Ok(peeked)
    }
}
