//! The compiled policies of one workload, and the decision.

use policies::{document::DocumentSet, mesh::Mesh, workload::Workload};

use crate::{
    compile,
    decision::{Action, Ask, Custom, Decision, DryRun, DryRunAllow, RuleId, Verdict},
    facts::Facts,
    index::RuleIndex,
    provider::Provider,
    rule::Rule,
};

/// Every AuthorizationPolicy that holds for one workload. Immutable; cheap to ask from many threads.
///
/// The default set has no policy and allows everything, as Istio does.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Box<[PolicyName]>,
    custom: RuleIndex,
    audit: RuleIndex,
    deny: RuleIndex,
    allow: RuleIndex,
    tried_deny: RuleIndex,
    /// None without an ALLOW policy in dry run; one without rules never matches.
    tried_allow: Option<RuleIndex>,
    /// Who is asked where a rule of `custom` matches; none is nobody.
    provider: Option<Provider>,
    /// What happens when no rule matches.
    otherwise: Otherwise,
}

/// What a policy is called.
#[derive(Debug, Clone)]
pub(crate) struct PolicyName {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

/// The verdict without a matching rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Otherwise {
    /// No ALLOW policy holds for the workload.
    #[default]
    Allow,
    /// At least one does, even if it has no rules.
    Deny,
    /// The documents had errors: nobody should have put this set in force, so nothing passes.
    Refused,
}

/// Policies and rules on their way into a set.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) policies: Vec<PolicyName>,
    pub(crate) provider: Option<Provider>,
    custom: Vec<Rule>,
    audit: Vec<Rule>,
    deny: Vec<Rule>,
    /// None without an ALLOW policy; so is `tried_allow`.
    allow: Option<Vec<Rule>>,
    tried_deny: Vec<Rule>,
    tried_allow: Option<Vec<Rule>>,
}

impl Parts {
    /// Takes the rules of one policy: they come behind those of the policies before.
    pub(crate) fn add(&mut self, action: Action, tried: bool, rules: Vec<Rule>) {
        let place = match (action, tried) {
            (Action::Custom, _) => &mut self.custom,
            (Action::Audit, _) => &mut self.audit,
            (Action::Deny, false) => &mut self.deny,
            (Action::Deny, true) => &mut self.tried_deny,
            (Action::Allow, false) => self.allow.get_or_insert_default(),
            (Action::Allow, true) => self.tried_allow.get_or_insert_default(),
        };
        place.extend(rules);
    }

    /// Numbers the rules in the order of [`PolicySet::rule_ids`].
    fn number(&mut self) {
        let rules = self.custom.iter_mut().chain(&mut self.audit);
        let rules = rules.chain(&mut self.deny);
        let rules = rules.chain(self.allow.iter_mut().flatten());
        let rules = rules.chain(&mut self.tried_deny);
        let rules = rules.chain(self.tried_allow.iter_mut().flatten());
        for (number, rule) in (0_u32..).zip(rules) {
            rule.id.number = number;
        }
    }
}

impl PolicySet {
    /// Compiles the policies of the root namespace and of the workload's own namespace that hold for the workload,
    /// from a set in which [`check`](crate::check::check) found no error.
    ///
    /// Should one of them have an error nevertheless, the set denies everything.
    pub fn compile(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Self {
        let Some(mut parts) = compile::policies(documents, workload, mesh) else {
            return Self {
                otherwise: Otherwise::Refused,
                ..Self::default()
            };
        };
        parts.number();
        Self {
            policies: parts.policies.into(),
            custom: RuleIndex::new(parts.custom),
            audit: RuleIndex::new(parts.audit),
            deny: RuleIndex::new(parts.deny),
            otherwise: match parts.allow {
                Some(_) => Otherwise::Deny,
                None => Otherwise::Allow,
            },
            allow: RuleIndex::new(parts.allow.unwrap_or_default()),
            tried_deny: RuleIndex::new(parts.tried_deny),
            tried_allow: parts.tried_allow.map(RuleIndex::new),
            provider: parts.provider,
        }
    }

    /// What the CUSTOM policies want, to be asked before tokens are looked at: so it sees no claims. Allocates nothing.
    ///
    /// On a connection that is not HTTP, a provider that only speaks HTTP is nobody: the connection is denied, where
    /// Istio lets it pass unasked.
    pub fn custom(&self, facts: &Facts<'_>) -> Option<Custom<'_>> {
        let by = self.custom.first(facts, Action::Custom)?;
        let provider = self
            .provider
            .as_ref()
            .filter(|provider| facts.http.is_some() || provider.takes_tcp);
        Some(Custom {
            by,
            ask: provider.map_or(Ask::Nobody, |provider| Ask::Provider(&provider.name)),
        })
    }

    /// Judges a request, or a connection: DENY rules, then ALLOW rules (Istio's order), with what AUDIT rules and
    /// policies in dry run say beside. Allocates nothing.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        let (verdict, by) = self.enforced(facts);
        Decision {
            verdict,
            by,
            audit: self.audit.first(facts, Action::Audit),
            dry_run: DryRun {
                deny: self.tried_deny.first(facts, Action::Deny),
                allow: match &self.tried_allow {
                    None => DryRunAllow::Absent,
                    Some(rules) => rules
                        .first(facts, Action::Allow)
                        .map_or(DryRunAllow::NoneMatched, DryRunAllow::Matched),
                },
            },
        }
    }

    fn enforced(&self, facts: &Facts<'_>) -> (Verdict, Option<&RuleId>) {
        if let Some(by) = self.deny.first(facts, Action::Deny) {
            return (Verdict::Deny, Some(by));
        }
        match self.otherwise {
            Otherwise::Allow => (Verdict::Allow, None),
            Otherwise::Refused => (Verdict::Deny, None),
            Otherwise::Deny => match self.allow.first(facts, Action::Allow) {
                Some(by) => (Verdict::Allow, Some(by)),
                None => (Verdict::Deny, None),
            },
        }
    }

    /// Every rule, in the order of [`RuleId::number`]: CUSTOM, AUDIT, DENY, ALLOW, then DENY and ALLOW in dry run.
    pub fn rule_ids(&self) -> impl Iterator<Item = &RuleId> {
        self.every_rule().map(|rule| &rule.id)
    }

    /// Whether the documents had errors, so that nothing passes.
    pub(crate) fn is_refused(&self) -> bool {
        self.otherwise == Otherwise::Refused
    }

    /// Every rule, in the order of [`RuleId::number`]: to explain, not to decide.
    pub(crate) fn every_rule(&self) -> impl Iterator<Item = &Rule> {
        [
            &self.custom,
            &self.audit,
            &self.deny,
            &self.allow,
            &self.tried_deny,
        ]
        .into_iter()
        .chain(&self.tried_allow)
        .flat_map(RuleIndex::rules)
    }

    /// Namespace and name of each policy that holds for the workload, in the order in which they are asked.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies
            .iter()
            .map(|policy| (&*policy.namespace, &*policy.name))
    }

    /// How many policies hold for the workload.
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// How many rules they have together.
    pub fn rules(&self) -> usize {
        self.every_rule().count()
    }
}
