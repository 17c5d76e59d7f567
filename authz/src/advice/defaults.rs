//! Workloads that are open because no policy selects them, in namespaces that are guarded otherwise.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationAction, AuthorizationPolicy, DocumentSet, LabelSelector},
    mesh::Mesh,
};

use super::known::Workloads;
use crate::{codes, dry_run};

/// How many workloads a message names.
const MOST_NAMED: usize = 5;

/// Finds namespaces where some workloads refuse by default and others let everybody in.
pub(super) fn advise(
    documents: &DocumentSet,
    workloads: &Workloads<'_>,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let mut guarded: BTreeMap<&str, Vec<&AuthorizationPolicy>> = BTreeMap::new();
    for policy in &documents.authorization_policies {
        if policy.action.value != AuthorizationAction::Allow
            || dry_run::is_tried(policy)
            || !policy.target_refs.is_empty()
            || workloads.is_for_gateways(policy.selector.as_ref())
        {
            continue;
        }
        let everybody = policy.selector.as_ref().is_none_or(LabelSelector::is_empty);
        if policy.meta.namespace == mesh.root_namespace {
            // One that selects everything guards the whole mesh.
            if everybody {
                return;
            }
            continue;
        }
        guarded
            .entry(&policy.meta.namespace)
            .or_default()
            .push(policy);
    }
    for (namespace, policies) in guarded {
        let selected: HashSet<*const _> = policies
            .iter()
            .flat_map(|policy| workloads.selected(&policy.meta, policy.selector.as_ref()))
            .map(std::ptr::from_ref)
            .collect();
        let open: BTreeSet<&str> = workloads
            .of_namespace(namespace)
            .into_iter()
            .filter(|known| !selected.contains(&std::ptr::from_ref(*known)))
            .map(|known| known.name)
            .filter(|name| !name.is_empty())
            .collect();
        // A namespace of which no workload is guarded has other plans, or another mistake.
        let Some(first) = policies
            .first()
            .filter(|_| !open.is_empty() && !selected.is_empty())
        else {
            continue;
        };
        let names: Vec<String> = open
            .iter()
            .take(MOST_NAMED)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = if open.len() > MOST_NAMED {
            " and others"
        } else {
            ""
        };
        let message = format!(
            "no ALLOW policy selects {}{more} of namespace `{namespace}`: everybody may do everything there",
            names.join(", ")
        );
        let help = format!(
            "add an AuthorizationPolicy with `spec: {{}}` to `{namespace}`: then whatever no rule allows is refused"
        );
        found.push(
            Diagnostic::info(codes::NO_DEFAULT_DENY, first.meta.at.clone(), "", message)
                .with_help(help),
        );
    }
}
