//! Faults that never happen.

use crate::diagnostic::{Diagnostic, codes};
use crate::document::DocumentSet;

/// Finds faults whose share is nothing.
pub(super) fn advise(documents: &DocumentSet, found: &mut Vec<Diagnostic>) {
    let rules = documents
        .virtual_services
        .iter()
        .flat_map(|document| &document.http);
    for fault in rules.filter_map(|rule| rule.fault.as_ref()) {
        let delay = fault.delay.map(|delay| ("delay", delay.percentage));
        let abort = fault.abort.map(|abort| ("abort", abort.percentage));
        for (field, share) in delay.into_iter().chain(abort) {
            if share > 0.0 {
                continue;
            }
            let message = format!(
                "this {field} hits 0 % of the requests, which is also what a missing `percentage` means"
            );
            let path = fault.path.field(field);
            found.push(
                Diagnostic::warning(codes::EMPTY_FAULT, fault.at.clone(), path, message)
                    .with_help("write the share: `percentage: {value: 10}`"),
            );
        }
    }
}
