//! Whether the security documents of a set are good: the same for every workload that might ask.

mod peers;
mod providers;
mod tokens;

use identity::id::SpiffeId;
use policies::{
    diagnostic::{Diagnostic, codes},
    document::DocumentSet,
    mesh::Mesh,
    registry::Registry,
};
use std::collections::HashSet;

use crate::compile;

/// Checks every security document, and that the identities which endpoints must prove can be proved.
///
/// The findings are in the order of (file, position); with an error among them the set must not be put in force.
pub fn check(documents: &DocumentSet, registry: &Registry, mesh: &Mesh) -> Vec<Diagnostic> {
    let mut found = compile::findings(documents, mesh);
    peers::check(documents, mesh, &mut found);
    providers::check(documents, registry, mesh, &mut found);
    tokens::check(documents, &mut found);
    identities(registry, &mut found);
    found.sort_by(|a, b| (&a.at, a.code).cmp(&(&b.at, b.code)));
    found.dedup();
    found
}

/// Endpoints whose identity no certificate could have: they are errors, not surprises at request time.
fn identities(registry: &Registry, found: &mut Vec<Diagnostic>) {
    let mut good: HashSet<&str> = HashSet::new();
    for service in registry.services() {
        for endpoint in service.endpoints.iter().map(|found| &found.endpoint) {
            let Some(expected) = endpoint.expected.as_deref() else {
                continue;
            };
            if good.contains(expected) {
                continue;
            }
            match SpiffeId::parse(expected) {
                Ok(_) => {
                    good.insert(expected);
                }
                Err(error) => {
                    let message = format!(
                        "the endpoint `{}` of `{}` cannot be verified by mTLS: {error}",
                        endpoint.address, service.host
                    );
                    let at = endpoint.at.clone();
                    let help = "a SPIFFE ID is made of the trust domain, the namespace and `serviceAccount`";
                    found.push(
                        Diagnostic::error(codes::UNVERIFIABLE_ENDPOINT, at, "", message)
                            .with_help(help),
                    );
                }
            }
        }
    }
}
