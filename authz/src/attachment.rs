//! Which documents hold for a workload: by namespace, and there by `selector` or by `targetRefs`.

use policies::{
    diagnostic::Diagnostic,
    document::{LabelSelector, Meta, Spanned, TargetRef},
    mesh::Mesh,
    workload::Workload,
};

use crate::codes;

/// The label by which a workload is a gateway of the Gateway API, and which one.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether a document holds for the workload (Istio's `policyattachment.go`).
///
/// References win over selectors, which Istio never takes together: whoever is not the gateway they name ignores the
/// document, also in the root namespace.
pub(crate) fn holds_for(
    meta: &Meta,
    selector: Option<&LabelSelector>,
    targets: &[Spanned<TargetRef>],
    workload: &Workload,
    mesh: &Mesh,
) -> bool {
    if targets.is_empty() {
        let reaches = meta.namespace == workload.namespace || meta.namespace == mesh.root_namespace;
        return reaches && selector.is_none_or(|selector| selector.matches(&workload.labels));
    }
    let Some(gateway) = workload.labels.get(GATEWAY_NAME) else {
        return false;
    };
    meta.namespace == workload.namespace
        && targets
            .iter()
            .any(|target| is_gateway(target) && target.name == *gateway)
}

/// Whether a reference is to a Gateway; the other kinds are for waypoints.
pub(crate) fn is_gateway(target: &TargetRef) -> bool {
    target.kind == "Gateway" && target.group == "gateway.networking.k8s.io"
}

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
