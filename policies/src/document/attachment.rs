//! What a document of a whole workload is attached to: `selector`, `targetRef` or `targetRefs`.

use super::{LabelSelector, Spanned, TargetRef};
use crate::decode::Fields;
use crate::diagnostic::{Diagnostic, codes};

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

impl Attachment {
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
