//! One decision that is remembered.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use authz::explain::Named;
use authz::{PolicySet, RuleId};
use serde::{Deserialize, Serialize};

use super::DecisionId;
use super::facts::{HeldFacts, RequestFacts};
use super::shown::{DryRunShown, ReasonShown, RuleShown, VerdictShown};
use crate::policy_store::rfc3339;
use crate::telemetry::{Line, write_json};

/// The policies of one generation, for explanations.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) authz: Arc<PolicySet>,
    /// What they look at.
    pub(super) named: Named,
}

/// Why it was decided so.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    Policies(Option<RuleId>),
    Custom {
        by: RuleId,
        provider: Option<Box<str>>,
    },
    Token {
        status: u16,
        text: Box<str>,
    },
}

/// A decision, with everything that an explanation needs.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: DecisionId,
    pub(super) at: SystemTime,
    /// `namespace/name` of the proxy's workload.
    pub(super) workload: Arc<str>,
    pub(super) verdict: VerdictShown,
    pub(super) enforced: bool,
    pub(super) cause: Cause,
    pub(super) audit: Option<RuleId>,
    pub(super) dry_run: Option<DryRunShown>,
    pub(super) facts: HeldFacts,
    pub(super) number: u64,
    /// Gone when too many generations came after it.
    pub(super) generation: Weak<Generation>,
}

/// A decision as `/decisions` and the decision log show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionShown {
    /// `x-portcullis-decision`.
    pub id: String,
    /// When, as RFC 3339.
    pub time: String,
    /// `namespace/name` of the workload whose proxy decided.
    pub workload: String,
    /// What was decided.
    pub verdict: VerdictShown,
    /// False of a denial that the audit mode let pass.
    pub enforced: bool,
    /// What decided.
    pub reason: ReasonShown,
    /// The rule that decided.
    pub rule: Option<RuleShown>,
    /// The provider that was asked; none if nobody could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Of a refused token: 401 or 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of a refused token: what the client was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The AUDIT rule that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<RuleShown>,
    /// What the policies in dry run say; none where there are none, or none of them would decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRunShown>,
    /// The policies' generation.
    pub generation: u64,
    /// Something of the request was too long to keep.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The request, or the connection.
    pub request: RequestFacts,
}

impl DecisionShown {
    /// Whether it was denied, or would have been: by a dry run or without the audit mode.
    pub fn is_denial(&self) -> bool {
        let dry_run = self.dry_run.as_ref().map(|dry_run| dry_run.verdict);
        self.verdict == VerdictShown::Deny || dry_run == Some(VerdictShown::Deny)
    }
}

impl Entry {
    pub(super) fn shown(&self) -> DecisionShown {
        let mut shown = DecisionShown {
            id: self.id.to_string(),
            time: rfc3339(self.at),
            workload: self.workload.to_string(),
            verdict: self.verdict,
            enforced: self.enforced,
            reason: ReasonShown::Token,
            rule: None,
            provider: None,
            status: None,
            text: None,
            audit: self.audit.as_ref().map(RuleShown::from),
            dry_run: self.dry_run.clone(),
            generation: self.number,
            cut: self.facts.cut,
            request: self.facts.shown(),
        };
        match &self.cause {
            Cause::Policies(rule) => {
                shown.reason = match (rule, self.verdict) {
                    (Some(_), _) => ReasonShown::Rule,
                    (None, VerdictShown::Allow) => ReasonShown::NoAllowPolicy,
                    (None, VerdictShown::Deny) => ReasonShown::NoRuleMatched,
                };
                shown.rule = rule.as_ref().map(RuleShown::from);
            }
            Cause::Custom { by, provider } => {
                shown.reason = ReasonShown::Custom;
                shown.rule = Some(RuleShown::from(by));
                shown.provider = provider.as_deref().map(str::to_owned);
            }
            Cause::Token { status, text } => {
                shown.status = Some(*status);
                shown.text = Some(text.to_string());
            }
        }
        shown
    }
}

impl Line for Arc<Entry> {
    const LOG: &'static str = "decision log";
    const THREAD: &'static str = "decision-log";
    const DROPPED: &'static str = "portcullis_decision_log_dropped_total";

    fn write_line(&self, out: &mut Vec<u8>) {
        write_json(&self.shown(), out);
    }
}
