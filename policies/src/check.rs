//! Whether the documents of a set fit together: everything that makes a set wrong whatever process reads it.
//!
//! A gateway and a sidecar compile different parts of a set. If each judged only its own part, a set could be in force
//! here and refused there; so all of it is judged here, and compiling for one proxy finds nothing new.

mod bindings;
mod clusters;
mod delegates;
mod health_checks;
pub(crate) mod hosts;
mod listeners;
mod ports;
mod rate_limits;
mod references;
mod rules;
mod scopes;
mod servers;
pub(crate) mod views;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::DocumentSet;
use crate::mesh::Mesh;
use crate::registry::Registry;
use crate::route::Owners;
use listeners::Listeners;

/// Checks the documents of a set against each other, for every proxy that might use them.
///
/// The findings are in the order of (file, position); with an error among them the set must not be put in force.
pub fn check(documents: &DocumentSet, mesh: &Mesh) -> (Registry, Vec<Diagnostic>) {
    let (registry, mut found) = Registry::build(documents, mesh);
    let owners = Owners::of_mesh(documents, &registry, mesh);
    references::check(documents, &registry, mesh, &mut found);
    rate_limits::check(documents, mesh, &mut found);
    health_checks::check(documents, &registry, &mut found);
    servers::check(documents, &mut found);
    bindings::check(documents, &registry, &mut found);
    delegates::check(documents, &mut found);
    rules::check(documents, &registry, &mut found);
    scopes::check(documents, &registry, mesh, &mut found);
    let listeners = Listeners::new(documents, &registry, &owners);
    listeners::check(documents, &registry, &listeners, &mut found);
    let targets = ports::targets(documents, &registry, mesh, &owners, &listeners, &mut found);
    clusters::check(documents, &registry, mesh, &targets, &mut found);
    found.extend(owners.conflicts.iter().map(|conflict| {
        let message = format!(
            "the host `{}` is routed by {} `{}` already",
            conflict.host,
            conflict.owner.meta.kind,
            conflict.owner.meta.qualified()
        );
        let host = conflict.host;
        Diagnostic::error(
            codes::CONFLICTING_HOST,
            host.at.clone(),
            &host.path,
            message,
        )
        .with_help("write all routes of a host into one VirtualService")
    }));
    // One value is looked at for several listeners and clients, and may be reported for each.
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    (registry, found)
}
