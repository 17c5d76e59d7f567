//! Advice: what a set may say, and what its authors will probably not want. Never an error.
//!
//! Each idea is a file. An idea speaks only where it is certain: advice that is wrong now and then is soon read by nobody.

mod chains;
mod faults;
mod gateways;
mod implication;
mod paths;
mod redirects;
mod retries;
mod services;
mod timeouts;
mod unreachable;
mod weights;

use crate::diagnostic::Diagnostic;
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;

/// Everything that a careful reader would remark about a set in which [`check`](crate::check::check) found no error.
pub fn advise(documents: &DocumentSet, registry: &Registry, mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    chains::advise(documents, registry, mesh, &mut found);
    faults::advise(documents, &mut found);
    gateways::advise(documents, registry, &mut found);
    paths::advise(documents, mesh, &mut found);
    redirects::advise(documents, registry, &mut found);
    retries::advise(documents, &mut found);
    services::advise(documents, registry, mesh, &mut found);
    timeouts::advise(documents, &mut found);
    unreachable::advise(documents, &mut found);
    weights::advise(documents, &mut found);
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    found
}
