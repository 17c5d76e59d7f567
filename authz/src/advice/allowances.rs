//! Rules that allow more than a reader may think.

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationAction, DocumentSet},
};

use crate::{codes, dry_run};

/// Rules of ALLOW policies that let everybody do everything.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for policy in &documents.authorization_policies {
        if policy.action.value != AuthorizationAction::Allow || dry_run::is_tried(policy) {
            continue;
        }
        for rule in &policy.rules {
            if rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty() {
                let message = "this rule allows everybody everything: the other rules of the policy have no effect beside it";
                found.push(
                    Diagnostic::warning(codes::ALLOWS_EVERYTHING, rule.at.clone(), &rule.path, message)
                        .with_help("name who may (`from`) and what (`to`), or remove the policy if no one is to be refused"),
                );
            }
        }
    }
}
