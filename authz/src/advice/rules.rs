//! Rules without effect: what another rule of the same action matches anyway, and what a DENY rule takes away.

use std::collections::{BTreeMap, HashMap};

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationAction, AuthorizationPolicy, DocumentSet, Rule},
    mesh::Mesh,
};

use super::{implication::Implication, known::labels};
use crate::{codes, dry_run};

/// So many rules of one group are compared with each other.
const MOST_COMPARED: usize = 200;

/// A rule with its policy.
type Placed<'a> = (&'a AuthorizationPolicy, &'a Rule);

/// Policies that hold for the same workloads with the same action.
type Group<'a> = (&'a str, &'a str, BTreeMap<String, String>);

/// Finds rules beside which, or under which, another one has no effect.
pub(super) fn advise(documents: &DocumentSet, mesh: &Mesh, found: &mut Vec<Diagnostic>) {
    let implication = Implication::new(mesh);
    let mut groups: BTreeMap<Group<'_>, Vec<Placed<'_>>> = BTreeMap::new();
    let mut denied: HashMap<&str, Vec<Placed<'_>>> = HashMap::new();
    for policy in documents
        .authorization_policies
        .iter()
        .map(|policy| &**policy)
        .filter(|policy| is_compared(policy))
    {
        let namespace = policy.meta.namespace.as_str();
        let action = policy.action.value;
        let selector = policy.selector.as_ref().map(labels).unwrap_or_default();
        let rules = policy.rules.iter().map(|rule| (policy, rule));
        if action == AuthorizationAction::Deny {
            denied.entry(namespace).or_default().extend(rules.clone());
        }
        let group = groups
            .entry((namespace, action.as_str(), selector))
            .or_default();
        group.extend(rules);
    }
    for rules in groups.values() {
        redundant(rules, &implication, found);
    }
    for policy in &documents.authorization_policies {
        if policy.action.value == AuthorizationAction::Allow && is_compared(policy) {
            let here = denied.get(policy.meta.namespace.as_str());
            let everywhere = denied
                .get(mesh.root_namespace.as_str())
                .filter(|_| policy.meta.namespace != mesh.root_namespace);
            let denials: Vec<Placed<'_>> = here
                .into_iter()
                .chain(everywhere)
                .flatten()
                .take(MOST_COMPARED)
                .copied()
                .collect();
            shadowed(policy, &denials, &implication, found);
        }
    }
}

/// A policy in dry run takes nothing from others, and one for a Gateway by name holds for nobody else.
fn is_compared(policy: &AuthorizationPolicy) -> bool {
    !dry_run::is_tried(policy) && policy.target_refs.is_empty()
}

fn is_everything(rule: &Rule) -> bool {
    rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty()
}

fn redundant(rules: &[Placed<'_>], implication: &Implication, found: &mut Vec<Diagnostic>) {
    let rules = rules.get(..MOST_COMPARED).unwrap_or(rules);
    for (number, (policy, rule)) in rules.iter().enumerate() {
        // A service account without namespace means another one in another policy only if the namespaces differ, which
        // those of a group do not.
        let wider = rules.iter().enumerate().find(|(other, (_, general))| {
            *other != number
                && implication.within(rule, general)
                && (*other < number || !implication.within(general, rule))
        });
        // That it allows everything is reported there.
        let Some((_, (by, general))) = wider.filter(|(_, (_, general))| !is_everything(general))
        else {
            continue;
        };
        let place = if std::ptr::eq(*policy, *by) {
            format!("the rule at {}", general.at)
        } else {
            format!("a rule of {} at {}", by.meta, general.at)
        };
        let message = format!("this rule has no effect: {place} matches whatever it matches");
        found.push(
            Diagnostic::warning(codes::REDUNDANT_RULE, rule.at.clone(), &rule.path, message)
                .with_help("remove one of them, or narrow the wider one"),
        );
    }
}

fn shadowed(
    policy: &AuthorizationPolicy,
    denials: &[Placed<'_>],
    implication: &Implication,
    found: &mut Vec<Diagnostic>,
) {
    let own = policy.selector.as_ref().map(labels).unwrap_or_default();
    for rule in &policy.rules {
        let by = denials.iter().find(|(denial, general)| {
            let reaches = denial
                .selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&own));
            // A short service account means the policy's own namespace.
            let comparable = denial.meta.namespace == policy.meta.namespace
                || general.from.iter().all(|source| {
                    source.service_accounts.is_empty() && source.not_service_accounts.is_empty()
                });
            reaches && comparable && implication.within(rule, general)
        });
        if let Some((denial, general)) = by {
            let message = format!(
                "this rule never allows anything: the DENY rule of {} at {} comes first and matches whatever it matches",
                denial.meta, general.at
            );
            found.push(
                Diagnostic::warning(codes::DENIED_ALLOW, rule.at.clone(), &rule.path, message)
                    .with_help("narrow the DENY rule, for example with `notPrincipals`, or remove this one"),
            );
        }
    }
}
