//! Whether a routed request is one too many, and what its answer says about limits.

use std::net::SocketAddr;

use policies::document::rate_limit::LimitDirection;
use policies::rate_limit::LimitFacts;

use super::{Answer, Answered, Routed, Router};
use crate::body::RequestBody;
use crate::ext_authz::HeaderChange;
use crate::local_reply::LocalReply;

impl<B: RequestBody> Router<B> {
    /// Counts a request; what its answer is to say about that, or what it is answered instead.
    // No `async fn`: a future must not hold a reference to a body, which cannot be shared between threads.
    pub(super) fn count<'r>(
        &'r self,
        routed: &'r Routed<'_, B>,
    ) -> impl Future<Output = Result<Vec<HeaderChange>, Box<LocalReply>>> + Send + 'r {
        let snapshot = routed.snapshot;
        // Only a gateway has listeners; what it routes came in, what a sidecar routes goes out.
        let direction = if snapshot.listeners.is_some() {
            LimitDirection::Inbound
        } else {
            LimitDirection::Outbound
        };
        let origin = &routed.origin;
        let facts = LimitFacts {
            request: origin.view(&routed.request),
            route: routed.route.name.as_deref(),
            principal: origin.principal,
            client: origin.client,
            connection: (
                origin.remote,
                SocketAddr::new(origin.remote.ip(), origin.port),
            ),
        };
        async move {
            let mut told = Vec::new();
            let limits = &self.limits;
            limits
                .check(snapshot, direction, &facts, &mut told)
                .await
                .map(|()| told)
        }
    }
}

impl<B: RequestBody> Answered<B> {
    /// Says in the answer's headers how the request's limits stand.
    pub(super) fn tell(&mut self, told: Vec<HeaderChange>) {
        match &mut self.answer {
            Answer::Upstream(response) => HeaderChange::apply_all(&told, response.headers_mut()),
            Answer::Route(response, _) => HeaderChange::apply_all(&told, response.headers_mut()),
            Answer::Reply(reply) => {
                let pairs = told.into_iter().filter_map(HeaderChange::into_pair);
                reply.headers.extend(pairs);
            }
        }
    }
}
