//! The compiled policies of one workload, and the decision.

use policies::{document::DocumentSet, mesh::Mesh, workload::Workload};

use crate::{
    compile,
    decision::{Action, Custom, Decision, DryRun, RuleId, Verdict},
    facts::Facts,
    rule::Rule,
};

/// Every AuthorizationPolicy that selects one workload. Immutable; cheap to ask from many threads.
///
/// The default set has no policy and allows everything, as Istio does.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    policies: Box<[PolicyName]>,
    deny: RuleIndex,
    allow: RuleIndex,
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
    /// No ALLOW policy selects the workload.
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
    pub(crate) deny: Vec<Rule>,
    pub(crate) allow: Vec<Rule>,
    pub(crate) has_allow_policy: bool,
}

impl PolicySet {
    /// Compiles the policies of the root namespace and of the workload's own namespace that select the workload,
    /// from a set in which [`check`](crate::check::check) found no error.
    ///
    /// Should one of them have an error nevertheless, the set denies everything.
    pub fn compile(documents: &DocumentSet, workload: &Workload, mesh: &Mesh) -> Self {
        let Some(parts) = compile::policies(documents, workload, mesh) else {
            return Self {
                otherwise: Otherwise::Refused,
                ..Self::default()
            };
        };
        let mut parts = parts;
        for (number, rule) in (0_u32..).zip(parts.deny.iter_mut().chain(&mut parts.allow)) {
            rule.id.number = number;
        }
        Self {
            policies: parts.policies.into(),
            deny: RuleIndex::new(parts.deny),
            allow: RuleIndex::new(parts.allow),
            otherwise: if parts.has_allow_policy {
                Otherwise::Deny
            } else {
                Otherwise::Allow
            },
        }
    }

    /// What the CUSTOM policies want, to be asked before tokens are looked at: so it sees no claims. Allocates nothing.
    #[expect(
        clippy::unused_self,
        reason = "CUSTOM is refused when documents are loaded"
    )]
    pub const fn custom(&self, _facts: &Facts<'_>) -> Option<Custom<'_>> {
        None
    }

    /// Judges a request, or a connection: DENY rules, then ALLOW rules (Istio's order). Allocates nothing.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        let (verdict, by) = self.enforced(facts);
        Decision {
            verdict,
            by,
            audit: None,
            dry_run: DryRun::default(),
        }
    }

    fn enforced(&self, facts: &Facts<'_>) -> (Verdict, Option<&RuleId>) {
        if let Some(rule) = self.deny.first_match(facts, Action::Deny) {
            return (Verdict::Deny, Some(&rule.id));
        }
        match self.otherwise {
            Otherwise::Allow => (Verdict::Allow, None),
            Otherwise::Refused => (Verdict::Deny, None),
            Otherwise::Deny => match self.allow.first_match(facts, Action::Allow) {
                Some(rule) => (Verdict::Allow, Some(&rule.id)),
                None => (Verdict::Deny, None),
            },
        }
    }

    /// Every rule, in the order of [`RuleId::number`].
    pub fn rule_ids(&self) -> impl Iterator<Item = &RuleId> {
        self.every_rule().map(|rule| &rule.id)
    }

    /// Every rule, in the order of [`RuleId::number`]: to explain, not to decide.
    pub(crate) fn every_rule(&self) -> impl Iterator<Item = &Rule> {
        self.deny.rules.iter().chain(&self.allow.rules)
    }

    /// Whether the documents had errors, so that nothing passes.
    pub(crate) fn is_refused(&self) -> bool {
        self.otherwise == Otherwise::Refused
    }

    /// Namespace and name of each policy that selects the workload, in the order in which they are asked.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies
            .iter()
            .map(|policy| (&*policy.namespace, &*policy.name))
    }

    /// How many policies select the workload.
    pub fn policies(&self) -> usize {
        self.policies.len()
    }

    /// How many rules they have together.
    pub fn rules(&self) -> usize {
        self.deny.rules.len() + self.allow.rules.len()
    }
}

/// A principal and the numbers of its rules, ascending.
type NamedRules = (Box<str>, Box<[u32]>);

/// The rules of one action: those that name exact principals are found by principal.
#[derive(Debug, Clone, Default)]
struct RuleIndex {
    rules: Box<[Rule]>,
    /// Sorted by principal.
    by_principal: Box<[NamedRules]>,
    /// The numbers of all other rules, ascending.
    others: Box<[u32]>,
}

impl RuleIndex {
    fn new(rules: Vec<Rule>) -> Self {
        let mut by_principal = std::collections::BTreeMap::<Box<str>, Vec<u32>>::new();
        let mut others = Vec::new();
        for (number, rule) in (0_u32..).zip(&rules) {
            let Some(principals) = rule.exact_principals() else {
                others.push(number);
                continue;
            };
            for principal in principals {
                let numbers = by_principal.entry(principal.into()).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        Self {
            rules: rules.into(),
            by_principal: by_principal
                .into_iter()
                .map(|(principal, numbers)| (principal, numbers.into()))
                .collect(),
            others: others.into(),
        }
    }

    /// The first rule that matches, in the order of the documents.
    fn first_match(&self, facts: &Facts<'_>, action: Action) -> Option<&Rule> {
        let rule = |number: u32| self.rules.get(usize::try_from(number).ok()?);
        let first = |numbers: &[u32], before: u32| {
            let mut candidates = numbers
                .iter()
                .copied()
                .take_while(|number| *number < before);
            candidates.find(|number| rule(*number).is_some_and(|rule| rule.matches(facts, action)))
        };
        let named = first(self.named(facts), u32::MAX);
        first(&self.others, named.unwrap_or(u32::MAX))
            .or(named)
            .and_then(rule)
    }

    fn named(&self, facts: &Facts<'_>) -> &[u32] {
        let Some(peer) = facts.peer else { return &[] };
        let found = self
            .by_principal
            .binary_search_by(|(principal, _)| (**principal).cmp(peer.principal()));
        match found.ok().and_then(|at| self.by_principal.get(at)) {
            Some((_, numbers)) => numbers,
            None => &[],
        }
    }
}
