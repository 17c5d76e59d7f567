//! A compiled rule: (any source) and (any operation) and all conditions.

use crate::{
    decision::{Action, RuleId},
    facts::Facts,
    field::Check,
};

/// Fields of one `source` or `operation`, all of which must hold.
pub(crate) type AllOf = Box<[Check]>;

/// One rule of one policy.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    /// Any must hold; empty is no restriction.
    pub(crate) sources: Box<[AllOf]>,
    /// Any must hold; empty is no restriction.
    pub(crate) operations: Box<[AllOf]>,
    /// All must hold.
    pub(crate) conditions: AllOf,
    /// Whether any field, anywhere in the rule, exists in HTTP only.
    pub(crate) names_http: bool,
}

impl Rule {
    /// Whether the rule matches, read as a rule of an `action` policy.
    pub(crate) fn matches(&self, facts: &Facts<'_>, action: Action) -> bool {
        // Istio: on TCP an HTTP field anywhere takes an ALLOW rule away, but only itself from a DENY rule.
        if facts.http.is_none() && self.names_http && action == Action::Allow {
            return false;
        }
        let all = |checks: &[Check]| checks.iter().all(|check| check.holds(facts, action));
        let any = |groups: &[AllOf]| groups.is_empty() || groups.iter().any(|group| all(group));
        any(&self.sources) && any(&self.operations) && all(&self.conditions)
    }
}
