//! HealthChecks that contradict each other, or that are about no port.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, codes};
use crate::document::{DocumentSet, HealthCheck};
use crate::registry::Registry;

pub(super) fn check(documents: &DocumentSet, registry: &Registry, found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<(&str, &str, Option<u16>), &HealthCheck> = HashMap::new();
    for document in &documents.health_checks {
        let (meta, host) = (&document.meta, &document.host);
        // An unknown host is reported by the check of references.
        let Some(service) = registry.lookup(host, &meta.namespace) else {
            continue;
        };
        let port = document.port.as_ref().map(|port| port.value);
        let mut ports = service.ports.iter();
        if port.is_none()
            && document.settings.probe.needs_http()
            && !ports.any(|port| port.protocol.is_http())
        {
            let message = format!(
                "no port of `{}` speaks HTTP, so {meta} checks nothing",
                service.host
            );
            let (at, path) = (host.at.clone(), &host.path);
            let finding = Diagnostic::error(codes::UNKNOWN_PORT, at, path, message);
            found.push(finding.with_help("check its ports with `tcp: {}`"));
        }
        let key = (meta.namespace.as_str(), &*service.host, port);
        let Some(earlier) = first.get(&key) else {
            first.insert(key, document);
            continue;
        };
        let which = port.map_or_else(|| "every port".to_owned(), |port| format!("port {port}"));
        let message = format!(
            "{which} of `{}` is checked by {} already, at {}",
            service.host, earlier.meta, earlier.host.at
        );
        let (at, path) = (host.at.clone(), &host.path);
        let finding = Diagnostic::error(codes::CONFLICTING_HOST, at, path, message);
        found.push(finding.with_help("keep one of them"));
    }
}
