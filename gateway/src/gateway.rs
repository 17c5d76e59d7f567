//! What every request of a gateway shares.

use std::sync::Arc;

use dataplane::config::ForwardedPath;
use dataplane::shed::Shedder;
use dataplane::sizes::SizeLimits;
use dataplane::telemetry::{AccessLog, Party, PartyId, RequestMetrics};
use dataplane::{Access, Begun, PolicyStore, Router};
use identity::SpiffeId;
use policies::workload::Workload;

use crate::labels::LabelCache;
use crate::session_body::SessionBody;

/// A request's body on its way upstream.
pub type RequestBody = Begun<SessionBody>;

/// What the process file says about requests at the edge.
#[derive(Debug, Clone, Copy, Default)]
pub struct EdgeRules {
    /// Proxies in front whose entries of `x-forwarded-for` are believed.
    pub trusted_proxies: usize,
    /// Which form of a path goes on.
    pub path: ForwardedPath,
    /// How large bodies may be.
    pub sizes: SizeLimits,
}

/// The application behind every listener: policies in, responses out.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) policies: PolicyStore,
    pub(crate) router: Router<SessionBody>,
    pub(crate) metrics: Arc<RequestMetrics>,
    pub(crate) access_log: AccessLog,
    pub(crate) access: Access,
    pub(crate) rules: EdgeRules,
    /// Lets in what can be served.
    pub(crate) shedder: Shedder,
    pub(crate) labels: LabelCache,
    /// The gateway itself, as the source of what it forwards.
    pub(crate) source: PartyId,
    /// The gateway's own identity.
    pub(crate) identity: Option<SpiffeId>,
}

impl Gateway {
    /// A gateway that follows `policies`, admits requests by `access`, and answers them by `router`, which
    /// proves `identity` to its upstreams.
    pub fn new(
        policies: PolicyStore,
        router: Router<SessionBody>,
        metrics: Arc<RequestMetrics>,
        access_log: AccessLog,
        access: Access,
        identity: Option<&SpiffeId>,
    ) -> Self {
        let context = policies.context();
        let source = metrics.party(&own_party(&context.workload, identity));
        Self {
            policies,
            router,
            metrics,
            access_log,
            access,
            rules: EdgeRules::default(),
            shedder: Shedder::default(),
            labels: LabelCache::default(),
            source,
            identity: identity.cloned(),
        }
    }

    /// The same gateway with what the process file says about requests.
    #[must_use]
    pub fn with_rules(mut self, rules: EdgeRules) -> Self {
        self.rules = rules;
        self
    }

    /// The same gateway behind this door.
    #[must_use]
    pub fn with_shedder(mut self, shedder: Shedder) -> Self {
        self.shedder = shedder;
        self
    }
}

fn own_party(workload: &Workload, identity: Option<&SpiffeId>) -> Party {
    let label = |name: &str| workload.labels.get(name).map(String::as_str);
    Party::workload(&workload.name, &workload.namespace, identity, label)
}
