//! The services of external authorizers: where `extensionProviders` lead.

use crate::document::{DocumentSet, ExtensionProvider, ProviderKind, ProviderService};
use crate::registry::{Registry, Service};

/// The service of a provider that is asked about requests; none for providers of other kinds.
pub(crate) fn authorizer(provider: &ExtensionProvider) -> Option<&ProviderService> {
    match &provider.kind {
        ProviderKind::ExtAuthzHttp(http) => Some(&http.common.at),
        ProviderKind::ExtAuthzGrpc(grpc) => Some(&grpc.at),
        _ => None,
    }
}

/// The external authorizers that the documents of a set define.
pub(crate) fn authorizers(
    documents: &DocumentSet,
) -> impl Iterator<Item = (&ExtensionProvider, &ProviderService)> {
    let configs = documents.mesh_configs.iter();
    configs
        .flat_map(|config| &config.extension_providers)
        .filter_map(|provider| Some((provider, authorizer(provider)?)))
}

/// `[<namespace>/]<host>`: the namespace, if one is named, and the host.
pub(crate) fn split(service: &str) -> (Option<&str>, &str) {
    match service.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, service),
    }
}

/// The service that `[<namespace>/]<host>` means; without a namespace, one of the root namespace wins among services
/// of one short name. A namespace that is named has to be the service's own (Istio).
pub(crate) fn find<'r>(
    registry: &'r Registry,
    service: &str,
    root_namespace: &str,
) -> Option<&'r Service> {
    let (namespace, host) = split(service);
    let found = registry.lookup(host, namespace.unwrap_or(root_namespace))?;
    let there = namespace.is_none_or(|namespace| *found.namespace == *namespace);
    there.then_some(found)
}
