//! Which documents hold for a workload: by namespace, and there by `selector` or by `targetRefs`.

use policies::{
    diagnostic::Diagnostic,
    document::{Meta, Spanned, TargetRef},
};

pub(crate) use policies::document::attachment::{GATEWAY_NAME, holds_for, is_gateway};

use crate::codes;

/// References that no proxy here could ever meet: the document would protect nothing.
pub(crate) fn findings(meta: &Meta, targets: &[Spanned<TargetRef>]) -> Vec<Diagnostic> {
    targets
        .iter()
        .filter(|target| !is_gateway(target))
        .map(|target| {
            let message = format!(
                "{meta} is attached to {} `{}`: such references are for waypoints, which do not exist here",
                target.kind, target.name
            );
            Diagnostic::error(codes::WAYPOINT_TARGET, target.at.clone(), &target.path, message).with_help(
                "use `selector.matchLabels` to choose the workloads, or a reference to a `Gateway`",
            )
        })
        .collect()
}
