//! What a document of a whole workload is attached to: `selector`, `targetRef` or `targetRefs`.

use super::{LabelSelector, Meta, Spanned, TargetRef};
use crate::decode::Fields;
use crate::diagnostic::{Diagnostic, codes};
use crate::mesh::Mesh;
use crate::workload::Workload;

/// Largest number of `targetRefs` (Istio's limit).
const MAX_TARGETS: usize = 16;

/// The workloads that a document holds for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// `selector`: workloads of the namespace (of the mesh, in the root namespace) by their labels.
    pub selector: Option<LabelSelector>,
    /// `targetRefs` and `targetRef`: resources by name.
    pub target_refs: Vec<Spanned<TargetRef>>,
}

/// The label by which a workload is a gateway of the Gateway API, and which one.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether a document holds for the workload (Istio's `policyattachment.go`).
///
/// References win over selectors, which Istio never takes together: whoever is not the gateway they name ignores the
/// document, also in the root namespace.
pub fn holds_for(
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
pub fn is_gateway(target: &TargetRef) -> bool {
    target.kind == "Gateway" && target.group == "gateway.networking.k8s.io"
}

impl Attachment {
    /// Whether the document holds for the workload.
    pub fn holds_for(&self, meta: &Meta, workload: &Workload, mesh: &Mesh) -> bool {
        holds_for(
            meta,
            self.selector.as_ref(),
            &self.target_refs,
            workload,
            mesh,
        )
    }

    /// Reads `selector` and the named fields of references; at most one of them may be there.
    pub(crate) fn read(f: &mut Fields<'_>, references: &[&'static str]) -> Self {
        let selector = f.optional("selector");
        let mut target_refs: Vec<Spanned<TargetRef>> = Vec::new();
        for name in references {
            match *name {
                "targetRef" => target_refs.extend(f.optional::<Spanned<TargetRef>>(name)),
                _ => target_refs.extend(f.list::<Spanned<TargetRef>>(name)),
            }
        }
        let mut all = vec!["selector"];
        all.extend(references);
        f.exclusive(&all);
        if let Some(extra) = target_refs.get(MAX_TARGETS) {
            let message = format!("more than {MAX_TARGETS} `targetRefs`");
            let (at, path) = (extra.at.clone(), &extra.path);
            f.report(Diagnostic::error(codes::INVALID_LENGTH, at, path, message));
        }
        for target in target_refs
            .iter()
            .filter(|target| target.namespace.is_some())
        {
            let message = "a reference names a resource of the document's own namespace";
            let (at, path) = (target.at.clone(), target.path.field("namespace"));
            f.report(
                Diagnostic::error(codes::INVALID_VALUE, at, path, message)
                    .with_help("remove `namespace`"),
            );
        }
        Self {
            selector,
            target_refs,
        }
    }

    /// Whether the document holds for every workload of its namespace.
    pub fn is_namespace_wide(&self) -> bool {
        self.target_refs.is_empty() && self.selector.as_ref().is_none_or(LabelSelector::is_empty)
    }
}
