//! The mesh's registry as the source of this sidecar's endpoints.

use std::sync::Arc;

use anyhow::Context as _;
use dataplane::EndpointSource;
use dataplane::registry::Watching;
use identity::material::MaterialReader;

use crate::config::Config;

/// Starts to follow the registry, if the process file names one.
pub(crate) fn watch(
    config: &Config,
    material: &MaterialReader,
) -> anyhow::Result<Option<Watching>> {
    let Some(registry) = &config.registry else {
        return Ok(None);
    };
    let expected = registry
        .expected(&config.identity.trust_domain, &config.mesh.root_namespace)
        .context("`registry.identity`")?;
    Ok(Some(Watching::start(registry, expected, material.clone())))
}

/// As the policies take it.
pub(crate) fn source(watching: Option<&Watching>) -> Option<Arc<dyn EndpointSource>> {
    let source: Arc<dyn EndpointSource> = Arc::new(watching?.clone());
    Some(source)
}
