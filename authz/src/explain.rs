//! Why a request is judged as it is: every rule with what it wanted and found, the nearest one, and what would change it.
//!
//! Nothing here is asked on the way of a request: [`PolicySet::explain`] allocates as it likes and looks at every rule.
//! Its verdict is that of [`PolicySet::decide`] on the same facts.

mod field;
mod named;
mod nearest;
mod suggestion;

use policies::source::Location;

use crate::{
    decision::{Action, Ask, Decision, DryRunAllow, RuleId, Verdict},
    facts::Facts,
    policy_set::PolicySet,
};

pub use field::{Absence, FieldExplained, Found};
pub use named::Named;
pub use suggestion::{Step, Suggestion};

/// A decision with its reasons. Texts that come from the request are as they were sent: whoever prints them escapes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The verdict of the AUDIT, DENY and ALLOW policies; what CUSTOM wants stands in [`custom`](Self::custom).
    pub verdict: Verdict,
    /// What gave it.
    pub reason: Reason,
    /// The CUSTOM rule that has a provider asked before anything else, and whom.
    pub custom: Option<CustomExplained>,
    /// The first AUDIT rule that matched.
    pub audit: Option<RuleId>,
    /// The first DENY rule in dry run that matched.
    pub dry_run_deny: Option<RuleId>,
    /// What the ALLOW policies in dry run say.
    pub dry_run_allow: DryRunAllowExplained,
    /// The verdict if the policies in dry run were enforced.
    pub verdict_after_dry_run: Verdict,
    /// Every policy that selects the workload, as `namespace/name`.
    pub policies: Vec<String>,
    /// Every rule, in the order of [`RuleId::number`].
    pub rules: Vec<RuleExplained>,
    /// Of a request that no ALLOW rule lets pass: the position in [`rules`](Self::rules) of the one that nearly does.
    pub nearest: Option<usize>,
    /// How the policies, or the request, would have to change for it to pass; only of a denial.
    pub suggestion: Option<Suggestion>,
}

/// What gave a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// This rule matched.
    Rule(RuleId),
    /// Allowed: no ALLOW policy selects the workload, and no DENY rule matched.
    NoAllowPolicy,
    /// Denied: ALLOW policies select the workload, and none of their rules matched.
    NoRuleMatched,
    /// Denied: the policies have errors and should never have been put in force.
    Refused,
}

/// What a CUSTOM rule wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomExplained {
    /// The rule.
    pub by: RuleId,
    /// The provider; none if nobody can be asked, which denies.
    pub provider: Option<String>,
}

/// What the ALLOW policies in dry run say; [`DryRunAllow`], to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DryRunAllowExplained {
    /// No ALLOW policy is in dry run.
    Absent,
    /// The first of their rules that matched.
    Matched(RuleId),
    /// None of their rules matched.
    NoneMatched,
}

/// One rule and what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleExplained {
    /// Which.
    pub rule: RuleId,
    /// Whether it matches; then every field below holds, and otherwise at least one does not.
    pub matched: bool,
    /// The fields of its `from` and of its `to` that come nearest to the request, then those of `when`.
    pub fields: Vec<FieldExplained>,
}

impl RuleExplained {
    /// The fields that keep it from matching.
    pub fn failing(&self) -> impl Iterator<Item = &FieldExplained> {
        self.fields.iter().filter(|field| !field.holds)
    }

    /// Where it is written.
    pub const fn at(&self) -> &Location {
        &self.rule.at
    }
}

impl Explanation {
    /// Whether the AUDIT, DENY and ALLOW policies let it pass.
    pub const fn allows(&self) -> bool {
        matches!(self.verdict, Verdict::Allow)
    }

    /// The rule that nearly let the request pass.
    pub fn nearest_rule(&self) -> Option<&RuleExplained> {
        self.rules.get(self.nearest?)
    }

    /// Every rule: those that match, then those that fail, the nearest first.
    pub fn nearest_first(&self) -> Vec<&RuleExplained> {
        let mut rules: Vec<&RuleExplained> = self.rules.iter().collect();
        rules.sort_by_cached_key(|rule| nearest::distance(&rule.fields));
        rules
    }

    /// The rule that decided, with what it saw.
    pub fn deciding_rule(&self) -> Option<&RuleExplained> {
        match &self.reason {
            Reason::Rule(id) => self.rules.iter().find(|rule| rule.rule == *id),
            Reason::NoAllowPolicy | Reason::NoRuleMatched | Reason::Refused => None,
        }
    }
}

impl PolicySet {
    /// Says why [`decide`](Self::decide) judges as it does.
    pub fn explain(&self, facts: &Facts<'_>) -> Explanation {
        let decision = self.decide(facts);
        let rules: Vec<RuleExplained> = self
            .every_rule()
            .map(|rule| nearest::explain_rule(rule, facts))
            .collect();
        let reason = match (decision.by, decision.verdict) {
            (Some(rule), _) => Reason::Rule(rule.clone()),
            (None, Verdict::Allow) => Reason::NoAllowPolicy,
            (None, Verdict::Deny) if self.is_refused() => Reason::Refused,
            (None, Verdict::Deny) => Reason::NoRuleMatched,
        };
        let nearest = match reason {
            Reason::NoRuleMatched => {
                nearest::nearest(&rules, |rule| rule.action == Action::Allow && !rule.dry_run)
            }
            Reason::Rule(_) | Reason::NoAllowPolicy | Reason::Refused => None,
        };
        let mut explanation = Explanation {
            verdict: decision.verdict,
            reason,
            custom: self.custom(facts).map(|custom| CustomExplained {
                by: custom.by.clone(),
                provider: match custom.ask {
                    Ask::Provider(name) => Some(name.to_owned()),
                    Ask::Nobody => None,
                },
            }),
            audit: decision.audit.cloned(),
            dry_run_deny: decision.dry_run.deny.cloned(),
            dry_run_allow: match decision.dry_run.allow {
                DryRunAllow::Absent => DryRunAllowExplained::Absent,
                DryRunAllow::Matched(rule) => DryRunAllowExplained::Matched(rule.clone()),
                DryRunAllow::NoneMatched => DryRunAllowExplained::NoneMatched,
            },
            verdict_after_dry_run: decision.verdict_after_dry_run(),
            policies: self
                .names()
                .map(|(namespace, name)| format!("{namespace}/{name}"))
                .collect(),
            rules,
            nearest,
            suggestion: None,
        };
        explanation.suggestion = suggestion::suggest(&explanation);
        explanation
    }
}

impl Decision<'_> {
    /// The verdict if the policies in dry run were enforced beside the others.
    pub fn verdict_after_dry_run(&self) -> Verdict {
        let by = self.by.map(|rule| rule.action);
        match (self.verdict, by) {
            (Verdict::Deny, Some(_)) => Verdict::Deny,
            _ if self.dry_run.deny.is_some() => Verdict::Deny,
            (Verdict::Allow, Some(_)) => Verdict::Allow,
            (verdict, None) => match self.dry_run.allow {
                DryRunAllow::Absent => verdict,
                DryRunAllow::Matched(_) => Verdict::Allow,
                DryRunAllow::NoneMatched => Verdict::Deny,
            },
        }
    }
}
