//! Advice about who may do what: what a set may say, and what its authors will probably not want. Never an error.

mod allowances;

use policies::{diagnostic::Diagnostic, document::DocumentSet, mesh::Mesh, registry::Registry};

/// Everything that a careful reader would remark about a set in which [`check`](crate::check::check) found no error.
pub fn advise(documents: &DocumentSet, registry: &Registry, mesh: &Mesh) -> Vec<Diagnostic> {
    let _ = (registry, mesh);
    let mut found = Vec::new();
    allowances::advise(documents, &mut found);
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    found
}
