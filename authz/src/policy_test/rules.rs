//! The rules that a test is given, for its coverage.

use policies::{document::AuthorizationAction, source::Location};

use super::Subject;
use crate::decision::{Action, RuleId};

/// A rule of the documents, whatever workload it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestedRule<'a> {
    /// The namespace of the policy.
    pub namespace: &'a str,
    /// The name of the policy.
    pub name: &'a str,
    /// Which of its rules, from 0.
    pub rule: u16,
    /// What the policy does.
    pub action: Action,
    /// Where the rule stands: rules of several tests are the same if it is the same.
    pub at: &'a Location,
}

impl Subject {
    /// Every rule of the documents, in the order of (file, position), also of policies that do not select the workload.
    pub fn rules(&self) -> impl Iterator<Item = TestedRule<'_>> {
        let policies = self.documents.authorization_policies.iter();
        policies.flat_map(|policy| {
            let rules = (0_u16..).zip(&policy.rules);
            rules.map(|(index, rule)| TestedRule {
                namespace: &policy.meta.namespace,
                name: &policy.meta.name,
                rule: index,
                action: match policy.action.value {
                    AuthorizationAction::Allow => Action::Allow,
                    AuthorizationAction::Deny => Action::Deny,
                    AuthorizationAction::Audit => Action::Audit,
                    AuthorizationAction::Custom => Action::Custom,
                },
                at: &rule.at,
            })
        })
    }

    /// The rules of the policies that select the workload.
    pub fn own_rules(&self) -> impl Iterator<Item = &RuleId> {
        self.policies.rule_ids()
    }
}
