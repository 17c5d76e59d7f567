//! Which HealthCheck holds for a service's port.

use std::collections::HashMap;
use std::sync::Arc;

use crate::document::health_check::HealthCheckSettings;
use crate::document::{DocumentSet, HealthCheck};
use crate::registry::{Registry, Service, ServicePort};

/// The checks of a document set, by canonical host.
#[derive(Debug)]
pub(super) struct HealthChecks<'a>(HashMap<Arc<str>, Vec<&'a HealthCheck>>);

impl<'a> HealthChecks<'a> {
    pub(super) fn new(documents: &'a DocumentSet, registry: &Registry) -> Self {
        let mut by_host: HashMap<Arc<str>, Vec<&'a HealthCheck>> = HashMap::new();
        for document in &documents.health_checks {
            // An unknown host is reported by the check of references.
            if let Some(service) = registry.lookup(&document.host, &document.meta.namespace) {
                let of_host = by_host.entry(Arc::clone(&service.host)).or_default();
                of_host.push(document);
            }
        }
        Self(by_host)
    }

    /// The check of the first of these namespaces that has one; there, one that names the port before one that does not.
    pub(super) fn find(
        &self,
        service: &Service,
        port: &ServicePort,
        namespaces: &[&str],
    ) -> Option<&'a Arc<HealthCheckSettings>> {
        let of_host = self.0.get(&service.host)?;
        let holds = |check: &&&HealthCheck| match &check.port {
            Some(named) => **named == port.number,
            None => port.protocol.is_http() || !check.settings.probe.needs_http(),
        };
        namespaces.iter().find_map(|namespace| {
            let here = of_host
                .iter()
                .filter(|check| check.meta.namespace == *namespace);
            let found = here.filter(holds).max_by_key(|check| check.port.is_some());
            found.map(|check| &check.settings)
        })
    }
}
