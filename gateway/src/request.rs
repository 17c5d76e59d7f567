//! A request, phase by phase: accept, identity, tidy, admit, route, forward, log.

use std::sync::Arc;

use async_trait::async_trait;
use dataplane::LocalReply;
use dataplane::snapshot::Snapshot;
use pingora::apps::{HttpServerApp, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use policies::host::split_port;
use policies::route::HttpRoute;

use crate::admission::admit;
use crate::exchange::{Exchange, Stop};
use crate::gateway::{EdgeRules, Gateway};
use crate::record::Record;
use crate::request_head::RequestHead;
use crate::tidy::Tidied;
use crate::tls::same_server;
use crate::{answer, forward, session};

#[async_trait]
impl HttpServerApp for Gateway {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        draining: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let connection = session::accept(&mut session, draining).await?;
        let mut record = Record::begin(&session, &connection, &self.access_log);
        let mut exchange = Exchange {
            session: &mut session,
            connection: &connection,
            draining,
            record: &mut record,
            changes: Vec::new(),
        };
        let end = match self.serve(&mut exchange).await {
            Err(Stop::Reply(reply)) => answer::reply(&mut exchange, &reply).await,
            Err(Stop::Refused(refusal)) => answer::refuse(&mut exchange, *refusal).await,
            end => end,
        };
        record.finish(&session, &end, self);
        session::finish(session, end.is_ok()).await
    }
}

impl Gateway {
    /// The phases of a request whose head has arrived. What the request stops at is its answer.
    async fn serve(&self, exchange: &mut Exchange<'_>) -> Result<(), Stop> {
        let snapshot = self.policies.snapshot().ok_or_else(LocalReply::not_ready)?;
        let mut request = tidy(exchange, &snapshot, self.rules)?;
        admit(self, exchange, &snapshot, &mut request).await?;
        let route = find_route(exchange, &snapshot, &request)?;
        self.rules.sizes.check_request(&request.headers)?;
        let _place = self.shedder.enter().await?;
        forward::forward(self, exchange, &snapshot, route, request).await
    }
}

/// One canonical request, without anything forged.
fn tidy(
    exchange: &mut Exchange<'_>,
    snapshot: &Snapshot,
    rules: EdgeRules,
) -> Result<Tidied, Stop> {
    exchange.record.generation(snapshot.generation);
    let head = RequestHead::of(exchange.session)?;
    let request = Tidied::new(
        head,
        exchange.connection,
        snapshot.mesh.path_normalization,
        rules,
    )?;
    exchange.record.tidied(&request);
    Ok(request)
}

/// The route of a request; 421 when its host is another TLS server's, 404 when nobody's.
fn find_route<'a>(
    exchange: &mut Exchange<'_>,
    snapshot: &'a Snapshot,
    request: &Tidied,
) -> Result<&'a HttpRoute, Stop> {
    let connection = exchange.connection;
    if let Some(tls) = &connection.tls
        && let Some(port) = snapshot
            .listeners
            .as_ref()
            .and_then(|all| all.port(connection.port))
        && !same_server(port, tls.sni.as_deref(), split_port(&request.host).0)
    {
        return Err(LocalReply::misdirected().into());
    }
    let route = snapshot
        .routes
        .find(&request.view(connection))
        .ok_or_else(LocalReply::no_route)?;
    exchange.record.route(route.name.as_ref());
    Ok(route)
}
