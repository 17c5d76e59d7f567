//! Advice about who may do what: what a set may say, and what its authors will probably not want. Never an error.
//!
//! Each idea is a file. An idea speaks only where it is certain: advice that is wrong now and then is soon read by nobody.

mod allowances;
mod defaults;
mod identities;
mod implication;
mod known;
mod paths;
mod references;
mod rules;
mod values;

use policies::{diagnostic::Diagnostic, document::DocumentSet, mesh::Mesh, registry::Registry};

use known::Workloads;

/// Everything that a careful reader would remark about a set in which [`check`](crate::check::check) found no error.
///
/// The findings are in the order of (file, position).
pub fn advise(documents: &DocumentSet, registry: &Registry, mesh: &Mesh) -> Vec<Diagnostic> {
    let workloads = Workloads::new(documents, registry, mesh);
    let mut found = Vec::new();
    allowances::advise(documents, &mut found);
    defaults::advise(documents, &workloads, mesh, &mut found);
    identities::advise(documents, &workloads, &mut found);
    paths::advise(documents, mesh, &mut found);
    references::advise(documents, &workloads, mesh, &mut found);
    rules::advise(documents, mesh, &mut found);
    values::advise(documents, &mut found);
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    found
}
