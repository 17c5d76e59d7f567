//! May it pass? The one way from a tidy request to its admission, for gateway and sidecar alike.
//!
//! The order is Istio's: CUSTOM (an extension provider is asked), the token of RequestAuthentication, then AUDIT, DENY
//! and ALLOW. Whatever happens is recorded; whoever is refused gets an answer with the decision's number.

mod caller;
mod custom;
mod judged;
mod note;
mod refused;

pub use caller::Caller;
pub use judged::{Judged, Peeked};
pub use note::Note;
pub use refused::{DECISION_HEADER, Refusal, Refused};

use std::sync::Arc;

use authz::jwt::VerifiedToken;
use authz::{Ask, Claims, Decision, Facts, HttpFacts};
use http::HeaderMap;
use prometheus::{IntGauge, Registry};
use runtime::escape;

use crate::config::AuthorizationMode;
use crate::decisions::{Decided, Decisions};
use crate::ext_authz::{ExtAuthz, HeaderChange};
use crate::local_reply::LocalReply;
use crate::rate_limit::RateLimiter;
use crate::snapshot::Snapshot;
use crate::tokens::{TokenRequest, Tokens};

/// Decides about everything that comes in. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// RequestAuthentication.
    pub tokens: Tokens,
    /// CUSTOM.
    pub providers: ExtAuthz,
    /// What was decided, and why.
    pub decisions: Decisions,
    /// RateLimit: asked about what is admitted, and about what an application sends.
    pub limits: RateLimiter,
    /// Whether denials of AuthorizationPolicy are enforced.
    pub mode: AuthorizationMode,
}

/// A request or connection that passes.
#[derive(Debug, Default)]
pub struct Admitted<'s> {
    /// What the access log says about it.
    pub note: Note<'s>,
    /// Its verified token.
    pub token: Option<Arc<VerifiedToken>>,
    /// What the provider changes in the response, in order.
    pub response: Vec<HeaderChange>,
    /// The provider that let a TCP connection pass.
    pub provider: Option<&'s str>,
}

impl Admitted<'_> {
    /// The verified claims, for routing.
    pub fn claims(&self) -> Option<&Claims> {
        self.token.as_deref().map(|token| &token.claims)
    }
}

impl Access {
    /// Judges a request. Its headers, and a query with a token in it, change as provider and token rules want it.
    ///
    /// Without CUSTOM and token rules nothing is awaited and nothing is allocated.
    ///
    /// # Errors
    /// What the client gets instead.
    pub async fn admit<'s, R: Judged>(
        &self,
        snapshot: &'s Snapshot,
        caller: &Caller<'_>,
        request: &mut R,
    ) -> Result<Admitted<'s>, Box<Refused<'s>>> {
        let mut admitted = Admitted::default();
        // No rule and no provider may take a client's word for a claim.
        for header in snapshot.tokens.outputs() {
            request.headers_mut().remove(header);
        }
        let custom = snapshot.authz.custom(&facts(caller, request, None));
        if let Some(custom) = custom {
            Decisions::asked(snapshot, custom.by);
            Box::pin(self.consult(snapshot, caller, request, custom, &mut admitted)).await?;
        }
        admitted.token = request.verified();
        if admitted.token.is_none() && !snapshot.tokens.is_empty() {
            admitted.token = Box::pin(self.authenticate(snapshot, caller, request)).await?;
        }
        let facts = facts(caller, request, admitted.claims());
        let note = self.decide(snapshot, &facts)?;
        admitted.note = note.after(admitted.note);
        Ok(admitted)
    }

    /// Judges a TCP connection: CUSTOM with a gRPC provider, then AUDIT, DENY and ALLOW.
    ///
    /// # Errors
    /// The connection is to be closed without a byte; the reply is for the log.
    pub async fn admit_connection<'s>(
        &self,
        snapshot: &'s Snapshot,
        caller: &Caller<'_>,
    ) -> Result<Admitted<'s>, Box<Refused<'s>>> {
        let mut admitted = Admitted::default();
        let facts = caller.facts(None);
        if let Some(custom) = snapshot.authz.custom(&facts) {
            Decisions::asked(snapshot, custom.by);
            // Boxed: a connection keeps its future for all its life, and few are asked about.
            let consult = self.consult_about_connection(snapshot, caller, custom, &mut admitted);
            Box::pin(consult).await?;
        }
        admitted.note = self.decide(snapshot, &facts)?.after(admitted.note);
        Ok(admitted)
    }

    /// Whether an open TCP connection may stay open under a newer generation without being judged anew: the policies
    /// let it pass, and no CUSTOM rule wants anybody asked but `asked`, who has let it pass. Nobody is asked and nothing
    /// is recorded.
    pub fn may_stay(&self, snapshot: &Snapshot, caller: &Caller<'_>, asked: Option<&str>) -> bool {
        if self.mode == AuthorizationMode::Audit {
            return true;
        }
        let facts = caller.facts(None);
        let settled = match snapshot.authz.custom(&facts).map(|custom| custom.ask) {
            None => true,
            Some(Ask::Provider(provider)) => asked == Some(provider),
            Some(Ask::Nobody) => false,
        };
        settled && snapshot.authz.decide(&facts).is_allowed()
    }

    /// Says in `registry`, and loudly in the log, that denials are not enforced.
    ///
    /// # Errors
    /// When the metric's name is taken.
    pub fn announce(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let gauge = IntGauge::new(
            "portcullis_authorization_audit_mode",
            "1 while denials of AuthorizationPolicy are recorded but not enforced.",
        )?;
        registry.register(Box::new(gauge.clone()))?;
        if self.mode == AuthorizationMode::Audit {
            gauge.set(1);
            tracing::warn!(
                "AUDIT MODE: AuthorizationPolicy is NOT enforced: denials are recorded and let pass; only mTLS and tokens \
                 are. Remove `authorization.mode: audit` from the process file to enforce them"
            );
        }
        Ok(())
    }

    async fn authenticate<'s, R: Judged>(
        &self,
        snapshot: &'s Snapshot,
        caller: &Caller<'_>,
        request: &mut R,
    ) -> Result<Option<Arc<VerifiedToken>>, Box<Refused<'s>>> {
        let method = request.method().clone();
        let host = request.host().to_owned();
        let path = request.path().to_owned();
        let before = request.query().map(str::to_owned);
        let mut query = before.clone();
        let outcome = self
            .tokens
            .authenticate(
                &snapshot.tokens,
                TokenRequest {
                    method: &method,
                    scheme: caller.scheme,
                    host: &host,
                    path: &path,
                    query: &mut query,
                    headers: request.headers_mut(),
                },
            )
            .await;
        if query != before {
            request.set_query(query);
        }
        outcome.map_err(|reply| {
            let facts = facts(caller, request, None);
            let decided = Decided::Token {
                status: reply.status.as_u16(),
                text: &reply.body,
            };
            let note = Note {
                decision: self.decisions.record(snapshot, &facts, decided, true),
                ..Note::default()
            };
            tell(snapshot, &facts, &note, &reply.details);
            Refused::new(note, *reply, None)
        })
    }

    fn decide<'s>(
        &self,
        snapshot: &'s Snapshot,
        facts: &Facts<'_>,
    ) -> Result<Note<'s>, Box<Refused<'s>>> {
        let decision = snapshot.authz.decide(facts);
        let allowed = decision.is_allowed();
        let enforced = allowed || self.mode == AuthorizationMode::Enforce;
        let decided = Decided::Policies(decision);
        let number = self.decisions.record(snapshot, facts, decided, enforced);
        let note = Note {
            decision: number,
            let_pass: !enforced,
            ..Note::of(&decision)
        };
        if allowed {
            return Ok(note);
        }
        self.deny(snapshot, facts, &decision, note)
    }

    #[cold]
    fn deny<'s>(
        &self,
        snapshot: &Snapshot,
        facts: &Facts<'_>,
        decision: &Decision<'s>,
        note: Note<'s>,
    ) -> Result<Note<'s>, Box<Refused<'s>>> {
        let reply = LocalReply::denied(decision.denial_details());
        tell(snapshot, facts, &note, &reply.details);
        match self.mode {
            AuthorizationMode::Enforce => Err(Refused::new(note, reply, None)),
            AuthorizationMode::Audit => Ok(note),
        }
    }
}

/// The facts of a request as it stands now.
fn facts<'a, R: Judged>(
    caller: &Caller<'a>,
    request: &'a R,
    claims: Option<&'a Claims>,
) -> Facts<'a> {
    caller.facts(Some(HttpFacts {
        method: request.method().as_str(),
        host: request.host(),
        path: request.path(),
        headers: request.headers(),
        claims,
    }))
}

/// Makes the changes that a provider wants, in their order.
pub fn change(headers: &mut HeaderMap, changes: &[HeaderChange]) {
    HeaderChange::apply_all(changes, headers);
}

/// A denial in the process's own log, for whoever listens at `debug`.
fn tell(snapshot: &Snapshot, facts: &Facts<'_>, note: &Note<'_>, details: &str) {
    tracing::debug!(
        decision = note.decision.map(tracing::field::display),
        %details,
        enforced = !note.let_pass,
        at = note.by.map(|rule| tracing::field::display(&rule.at)),
        peer = facts.peer.map(identity::SpiffeId::as_str),
        method = facts.http.map(|http| tracing::field::display(escape::escape(http.method, escape::LIMIT))),
        path = facts.http.map(|http| tracing::field::display(escape::escape(http.path, escape::LIMIT))),
        generation = snapshot.generation,
        "denied"
    );
}
