//! Time limits of routes.

use crate::diagnostic::{Diagnostic, codes};
use crate::document::DocumentSet;

/// Routes that wait for ever.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    for document in &documents.virtual_services {
        for rule in &document.http {
            if rule.route.is_empty() || rule.timeout.is_some() {
                continue;
            }
            let message =
                "the route has no timeout: a destination that hangs holds its callers for ever";
            found.push(
                Diagnostic::warning(codes::NO_TIMEOUT, rule.at.clone(), &rule.path, message)
                    .with_help("add `timeout: 10s`, or what the slowest good answer takes"),
            );
        }
    }
}
