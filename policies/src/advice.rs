//! Advice: what a set may say, and what its authors will probably not want. Never an error.
//!
//! Each idea is a file. An idea speaks only where it is certain: advice that is wrong now and then is soon read by nobody.

mod timeouts;

use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;

/// Everything that a careful reader would remark about a set in which [`check`](crate::check::check) found no error.
pub fn advise(documents: &DocumentSet, registry: &Registry, mesh: &Mesh) -> Vec<Diagnostic> {
    let _ = (registry, mesh);
    let mut found = Vec::new();
    timeouts::advise(documents, &mut found);
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    found
}
