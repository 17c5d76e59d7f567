//! Explanations and rules as pages and the command show them.

use std::fmt;

use authz::explain::{
    DryRunAllowExplained, Explanation, FieldExplained, Reason, RuleExplained, Step,
};
use authz::{RuleId, Verdict};
use policies::source::Location;
use runtime::escape::escape;
use serde::{Deserialize, Serialize};

use super::facts::RequestFacts;

/// So many rules are shown with what they saw, the nearest first: more than people read.
const MOST_RULES: usize = 32;
/// So many values of a field are shown.
const MOST_VALUES: usize = 64;
/// The longest text that is shown, in bytes.
const LONGEST: usize = 4096;

/// A place in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, as the process calls it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The line in which it ends.
    pub end_line: u32,
    /// The first column behind it.
    pub end_column: u32,
}

impl From<&Location> for Place {
    fn from(at: &Location) -> Self {
        Self {
            file: at.file.to_string(),
            line: at.line,
            column: at.column,
            end_line: at.end.line,
            end_column: at.end.column,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A verdict in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictShown {
    /// It passes.
    Allow,
    /// It does not.
    Deny,
}

impl From<Verdict> for VerdictShown {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
        }
    }
}

/// A rule of a policy; `Display` is `shop/catalog rules[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleShown {
    /// The policy's namespace.
    pub namespace: String,
    /// The policy's name.
    pub policy: String,
    /// Which of its rules, from 0.
    pub rule: u16,
    /// `CUSTOM`, `AUDIT`, `DENY` or `ALLOW`.
    pub action: String,
    /// Whether the policy is in dry run.
    pub dry_run: bool,
    /// Where it is written.
    pub at: Place,
}

impl From<&RuleId> for RuleShown {
    fn from(rule: &RuleId) -> Self {
        Self {
            namespace: rule.policy_namespace.to_string(),
            policy: rule.policy_name.to_string(),
            rule: rule.rule,
            action: rule.action.as_str().to_owned(),
            dry_run: rule.dry_run,
            at: Place::from(&rule.at),
        }
    }
}

impl fmt::Display for RuleShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            policy,
            rule,
            ..
        } = self;
        write!(f, "{namespace}/{policy} rules[{rule}]")
    }
}

/// What gave a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReasonShown {
    /// A rule matched.
    Rule,
    /// No ALLOW policy selects the workload.
    NoAllowPolicy,
    /// No ALLOW rule matched.
    NoRuleMatched,
    /// The policies have errors.
    Refused,
    /// A provider of a CUSTOM policy denied, or did not answer, or nobody could be asked.
    Custom,
    /// A token was refused.
    Token,
}

/// A field of a rule beside what the request has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldShown {
    /// As it is written.
    pub field: String,
    /// Where.
    pub at: Place,
    /// Whether it lets the rule match.
    pub holds: bool,
    /// Its values.
    pub wanted: Vec<String>,
    /// What the request has there, in words.
    pub found: String,
    /// All of it as a sentence.
    pub because: String,
}

/// A rule with what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExplainedShown {
    /// Which.
    #[serde(flatten)]
    pub rule: RuleShown,
    /// Whether it matches.
    pub matched: bool,
    /// Its fields.
    pub fields: Vec<FieldShown>,
}

/// A change that would let a denied request pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepShown {
    /// What to do.
    pub text: String,
    /// Where, if in the documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// What the policies in dry run would make of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRunShown {
    /// The verdict if they were enforced.
    pub verdict: VerdictShown,
    /// The rule in dry run that matched; none where only the default denial of its policy would change the verdict.
    pub rule: Option<RuleShown>,
}

/// A whole explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplanationShown {
    /// The verdict of the policies.
    pub verdict: VerdictShown,
    /// What gave it.
    pub reason: ReasonShown,
    /// The rule that decided.
    pub by: Option<RuleExplainedShown>,
    /// The ALLOW rule that nearly let it pass.
    pub nearest: Option<RuleExplainedShown>,
    /// What would let it pass, all steps together.
    pub suggestion: Vec<StepShown>,
    /// The CUSTOM rule that has a provider asked first.
    pub custom: Option<RuleShown>,
    /// That provider; none if nobody can be asked, which denies.
    pub provider: Option<String>,
    /// The AUDIT rule that matched.
    pub audit: Option<RuleShown>,
    /// What the policies in dry run say; none where there are none.
    pub dry_run: Option<DryRunShown>,
    /// The policies that select the workload, as `namespace/name`.
    pub policies: Vec<String>,
    /// How many rules they have.
    pub rule_count: usize,
    /// The rules with what they saw: those that matched, then the nearest; at most 32.
    pub rules: Vec<RuleExplainedShown>,
    /// The request as it was judged, its path canonical.
    pub request: RequestFacts,
}

impl ExplanationShown {
    /// Shows an explanation of `request`.
    pub fn of(explanation: &Explanation, request: RequestFacts) -> Self {
        let custom = explanation.custom.as_ref();
        let steps = explanation.suggestion.iter().flat_map(|one| &one.steps);
        let nearest_first = explanation.nearest_first().into_iter();
        Self {
            verdict: explanation.verdict.into(),
            reason: match explanation.reason {
                Reason::Rule(_) => ReasonShown::Rule,
                Reason::NoAllowPolicy => ReasonShown::NoAllowPolicy,
                Reason::NoRuleMatched => ReasonShown::NoRuleMatched,
                Reason::Refused => ReasonShown::Refused,
            },
            by: explanation.deciding_rule().map(RuleExplainedShown::from),
            nearest: explanation.nearest_rule().map(RuleExplainedShown::from),
            suggestion: steps.map(StepShown::from).collect(),
            custom: custom.map(|custom| RuleShown::from(&custom.by)),
            provider: custom.and_then(|custom| custom.provider.clone()),
            audit: explanation.audit.as_ref().map(RuleShown::from),
            dry_run: dry_run(explanation),
            policies: explanation.policies.clone(),
            rule_count: explanation.rules.len(),
            rules: nearest_first
                .take(MOST_RULES)
                .map(RuleExplainedShown::from)
                .collect(),
            request,
        }
    }
}

fn dry_run(explanation: &Explanation) -> Option<DryRunShown> {
    let allow = match &explanation.dry_run_allow {
        DryRunAllowExplained::Matched(rule) => Some(rule),
        DryRunAllowExplained::Absent | DryRunAllowExplained::NoneMatched => None,
    };
    let rule = explanation.dry_run_deny.as_ref().or(allow);
    let none = rule.is_none() && explanation.dry_run_allow == DryRunAllowExplained::Absent;
    (!none).then(|| DryRunShown {
        verdict: explanation.verdict_after_dry_run.into(),
        rule: rule.map(RuleShown::from),
    })
}

impl From<&RuleExplained> for RuleExplainedShown {
    fn from(explained: &RuleExplained) -> Self {
        Self {
            rule: RuleShown::from(&explained.rule),
            matched: explained.matched,
            fields: explained.fields.iter().map(FieldShown::from).collect(),
        }
    }
}

impl From<&FieldExplained> for FieldShown {
    fn from(field: &FieldExplained) -> Self {
        Self {
            field: field.field.clone(),
            at: Place::from(&field.at),
            holds: field.holds,
            wanted: field.wanted.iter().take(MOST_VALUES).cloned().collect(),
            found: clean(&field.found.to_string()),
            because: clean(&field.to_string()),
        }
    }
}

impl From<&Step> for StepShown {
    fn from(step: &Step) -> Self {
        Self {
            text: clean(&step.text),
            at: step.at.as_ref().map(Place::from),
        }
    }
}

fn clean(text: &str) -> String {
    escape(text, LONGEST).into_owned()
}
