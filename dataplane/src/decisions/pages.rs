//! Decisions on the admin port: `/decisions`, `/decisions/ID`, `/explain` and `/rules`.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use authz::RuleId;
use http::StatusCode;
use runtime::admin::{AdminBuilder, AdminRequest, AdminResponse, Lazy};
use serde::{Deserialize, Serialize};

use super::entry::{DecisionShown, Entry};
use super::facts::RequestFacts;
use super::shown::{ExplanationShown, RuleShown};
use super::{DecisionId, Decisions};
use crate::policy_store::{PolicyStore, rfc3339};

/// One decision with its explanation: `/decisions/ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionExplained {
    /// What was decided.
    pub decision: DecisionShown,
    /// Why, by the policies of that time; none where they were not asked, or are no longer kept.
    pub explanation: Option<ExplanationShown>,
    /// Why there is no explanation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unexplained: Option<String>,
}

/// The use of one rule in force: an element of `/rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleUsed {
    /// Which.
    #[serde(flatten)]
    pub rule: RuleShown,
    /// How often it matched where it was looked at, since the process started.
    pub hits: u64,
    /// How often it denied.
    pub denials: u64,
    /// How often it would have denied, were it not for a dry run or the audit mode.
    pub dry_run_denials: u64,
    /// When it last matched, as RFC 3339; `null` if never.
    pub last_use: Option<String>,
}

/// Adds the pages.
#[must_use]
pub fn add(admin: AdminBuilder, store: &PolicyStore, decisions: &Decisions) -> AdminBuilder {
    let (listed, found) = (decisions.clone(), decisions.clone());
    let (asked, used) = (store.clone(), store.clone());
    admin
        .get("/decisions", move |request: AdminRequest| {
            let page = last(&listed, &request);
            async move { page }
        })
        .get_below("/decisions/", move |request: AdminRequest| {
            let page = one(&found, &request);
            async move { page }
        })
        .post("/explain", move |request: AdminRequest| {
            let page = explain(&asked, &request);
            async move { page }
        })
        .get("/rules", move |_| {
            let page = rules(&used);
            async move { page }
        })
}

#[derive(Serialize)]
struct Page<L> {
    /// How many are kept at most.
    buffer: usize,
    /// How many lines of the log were dropped because its writer was behind.
    dropped: u64,
    /// The newest first.
    decisions: L,
}

/// The last decisions; with `?denied` those that deny, or would without a dry run or the audit mode.
fn last(decisions: &Decisions, request: &AdminRequest) -> AdminResponse {
    let denied = request.query.as_deref().is_some_and(|query| {
        query
            .split('&')
            .any(|part| matches!(part, "denied" | "denied=true"))
    });
    let inner = decisions.0.as_deref();
    let entries = inner.map_or_else(Vec::new, |inner| inner.memory.newest_first());
    AdminResponse::json_stream(Page {
        buffer: inner.map_or(0, |inner| inner.memory.capacity()),
        dropped: inner.map_or(0, |inner| inner.log.dropped()),
        decisions: Lazy(move || {
            let shown: Vec<Arc<Entry>> = entries.clone();
            shown
                .into_iter()
                .map(|entry| entry.shown())
                .filter(move |shown| !denied || shown.is_denial())
        }),
    })
}

fn one(decisions: &Decisions, request: &AdminRequest) -> AdminResponse {
    let text = request.path.rsplit('/').next().unwrap_or_default();
    let Ok(id) = text.parse::<DecisionId>() else {
        let why = "the number of a decision has 16 hexadecimal digits\n";
        return AdminResponse::text(StatusCode::BAD_REQUEST, why);
    };
    match decisions
        .0
        .as_deref()
        .and_then(|inner| inner.memory.find(id))
    {
        Some(entry) => AdminResponse::json(StatusCode::OK, &explained(&entry)),
        None => AdminResponse::text(
            StatusCode::NOT_FOUND,
            "no such decision here: it is another process's, a plain allowance that was not sampled, or too old\n",
        ),
    }
}

fn explained(entry: &Entry) -> DecisionExplained {
    let decision = entry.shown();
    let (explanation, unexplained) = match (&entry.cause, entry.generation.upgrade()) {
        (super::entry::Cause::Token { .. }, _) => (
            None,
            Some("the token was refused before the policies were asked".to_owned()),
        ),
        (_, None) => (
            None,
            Some(format!(
                "the policies of generation {} are no longer kept",
                entry.number
            )),
        ),
        (_, Some(generation)) => {
            let explanation = generation.authz.explain(&entry.facts.facts());
            let shown = ExplanationShown::of(&explanation, decision.request.clone());
            (Some(shown), None)
        }
    };
    DecisionExplained {
        decision,
        explanation,
        unexplained,
    }
}

/// What the policies in force decide about the facts of the body, and why. Nothing is counted.
fn explain(store: &PolicyStore, request: &AdminRequest) -> AdminResponse {
    let Some(snapshot) = store.snapshot() else {
        let why = "no documents are in force yet; see /status\n";
        return AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let facts = match serde_json::from_slice::<RequestFacts>(&request.body) {
        Ok(facts) => facts,
        Err(error) => {
            let why = format!("expected the facts of a request as JSON: {error}\n");
            return AdminResponse::text(StatusCode::BAD_REQUEST, why);
        }
    };
    match facts.explain(&snapshot.authz, snapshot.mesh.path_normalization) {
        Ok(explanation) => AdminResponse::json(StatusCode::OK, &explanation),
        Err(error) => AdminResponse::text(StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")),
    }
}

#[derive(Serialize)]
struct Rules<L> {
    generation: u64,
    rules: L,
}

/// The use of every rule in force.
fn rules(store: &PolicyStore) -> AdminResponse {
    let Some(snapshot) = store.snapshot() else {
        let why = "no documents are in force yet; see /status\n";
        return AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    AdminResponse::json_stream(Rules {
        generation: snapshot.generation,
        rules: Lazy(move || {
            let snapshot = Arc::clone(&snapshot);
            let rules: Vec<RuleId> = snapshot.authz.rule_ids().cloned().collect();
            rules.into_iter().map(move |rule| {
                let counts = snapshot.uses.of(&rule).and_then(super::RuleUse::counts);
                RuleUsed {
                    rule: RuleShown::from(&rule),
                    hits: counts.map_or(0, |counts| counts.hits),
                    denials: counts.map_or(0, |counts| counts.denials),
                    dry_run_denials: counts.map_or(0, |counts| counts.dry_run_denials),
                    last_use: counts
                        .map(|counts| rfc3339(UNIX_EPOCH + Duration::from_secs(counts.last_use))),
                }
            })
        }),
    })
}
