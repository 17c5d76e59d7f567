//! CUSTOM: asks the provider that a rule names, and does what it says.

use authz::{Ask, Custom, Facts};
use http::StatusCode;

use super::{Access, Admitted, Caller, Judged, Note, Peeked, Refused, change, facts, tell};
use crate::config::AuthorizationMode;
use crate::decisions::Decided;
use crate::ext_authz::{Allowed, CheckAnswer, CheckHttp, ExtAuthz, QueryChange, WantedBody};
use crate::local_reply::LocalReply;
use crate::snapshot::Snapshot;
use crate::telemetry::ResponseFlags;
use crate::upstream::UpstreamErrorKind;

/// Why a provider's step ends an exchange.
struct Objection<'p> {
    reply: Box<LocalReply>,
    response: Option<Box<http::Response<bytes::Bytes>>>,
    provider: Option<&'p str>,
}

impl Access {
    /// Asks whom the CUSTOM rule wants asked, and changes the request as the provider says.
    pub(super) async fn consult<'s, R: Judged>(
        &self,
        snapshot: &'s Snapshot,
        caller: &Caller<'_>,
        request: &mut R,
        custom: Custom<'s>,
        admitted: &mut Admitted<'s>,
    ) -> Result<(), Box<Refused<'s>>> {
        match self.ask(snapshot, caller, request, &custom).await {
            Ok(allowed) => {
                change(request.headers_mut(), &allowed.request);
                if !allowed.query.is_empty() {
                    let query = QueryChange::apply_all(&allowed.query, request.query());
                    request.set_query(query);
                }
                admitted.response = allowed.response;
            }
            Err(objection) => {
                let facts = facts(caller, request, None);
                admitted.note = self.object(snapshot, &facts, &custom, objection)?;
            }
        }
        Ok(())
    }

    async fn ask<'s, R: Judged>(
        &self,
        snapshot: &Snapshot,
        caller: &Caller<'_>,
        request: &mut R,
        custom: &Custom<'s>,
    ) -> Result<Allowed, Objection<'s>> {
        let Ask::Provider(provider) = custom.ask else {
            return Err(Objection::nobody(custom));
        };
        let body = match ExtAuthz::wanted_body(snapshot, provider) {
            Some(wanted) => Some(peek(request, wanted).await.map_err(|reply| Objection {
                reply,
                response: None,
                provider: Some(provider),
            })?),
            None => None,
        };
        let target = match request.query() {
            Some(query) => format!("{}?{query}", request.path()),
            None => request.path().to_owned(),
        };
        let check = caller.check(Some(CheckHttp {
            version: request.version(),
            scheme: caller.scheme,
            method: request.method(),
            host: request.host(),
            target: &target,
            headers: request.headers(),
            body: body.map(|peeked| (peeked.bytes, peeked.whole)),
        }));
        Objection::of(
            provider,
            self.providers.check(snapshot, provider, check).await,
        )
    }

    /// Refuses what a provider objects to, unless nothing is enforced.
    fn object<'s>(
        &self,
        snapshot: &Snapshot,
        facts: &Facts<'_>,
        custom: &Custom<'s>,
        objection: Objection<'_>,
    ) -> Result<Note<'s>, Box<Refused<'s>>> {
        let enforced = self.mode == AuthorizationMode::Enforce;
        let decided = Decided::Custom {
            by: custom.by,
            provider: objection.provider,
        };
        let note = Note {
            by: Some(custom.by),
            decision: self.decisions.record(snapshot, facts, decided, enforced),
            let_pass: !enforced,
            ..Note::default()
        };
        tell(snapshot, facts, &note, &objection.reply.details);
        if enforced {
            Err(Refused::new(
                note,
                *objection.reply,
                objection.response.map(|response| *response),
            ))
        } else {
            Ok(note)
        }
    }

    /// The same about a connection, of which a provider can change nothing.
    pub(super) async fn consult_about_connection<'s>(
        &self,
        snapshot: &'s Snapshot,
        caller: &Caller<'_>,
        custom: Custom<'s>,
        admitted: &mut Admitted<'s>,
    ) -> Result<(), Box<Refused<'s>>> {
        let answer = match custom.ask {
            Ask::Nobody => Err(Objection::nobody(&custom)),
            Ask::Provider(provider) => {
                let check = caller.check(None);
                let answer = self.providers.check(snapshot, provider, check).await;
                Objection::of(provider, answer).map(|_| provider)
            }
        };
        match answer {
            Ok(provider) => admitted.provider = Some(provider),
            Err(objection) => {
                let facts = caller.facts(None);
                admitted.note = self.object(snapshot, &facts, &custom, objection)?;
            }
        }
        Ok(())
    }
}

impl<'p> Objection<'p> {
    /// What a provider's answer stands in the way with.
    fn of(provider: &'p str, answer: CheckAnswer) -> Result<Allowed, Self> {
        match answer {
            CheckAnswer::Allow(allowed) => Ok(*allowed),
            CheckAnswer::Deny(response) => Err(Self {
                reply: Box::new(LocalReply {
                    status: response.status(),
                    ..LocalReply::new(
                        StatusCode::FORBIDDEN,
                        "",
                        ResponseFlags::UNAUTHORIZED_EXTERNAL_SERVICE,
                        "ext_authz_denied",
                    )
                }),
                response: Some(response),
                provider: Some(provider),
            }),
            CheckAnswer::Failed(reply) => Err(Self {
                reply,
                response: None,
                provider: Some(provider),
            }),
        }
    }

    /// Nobody can be asked: Istio makes such rules a denial.
    fn nobody(custom: &Custom<'_>) -> Self {
        Self {
            reply: Box::new(LocalReply::denied(format_args!(
                "rbac_access_denied_matched_policy[{}-deny-due-to-bad-CUSTOM-action]",
                custom.by
            ))),
            response: None,
            provider: None,
        }
    }
}

/// The part of the body that a provider wants to see; 413 when it is longer and may not be cut.
async fn peek<R: Judged>(request: &mut R, wanted: WantedBody) -> Result<Peeked, Box<LocalReply>> {
    let peeked = request
        .peek(wanted.max)
        .await
        .map_err(|_| Box::new(LocalReply::upstream(UpstreamErrorKind::Upload)))?;
    if peeked.whole || wanted.allow_partial {
        return Ok(peeked);
    }
    Err(Box::new(LocalReply::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Payload Too Large",
        ResponseFlags::NONE,
        "request_payload_too_large",
    )))
}
