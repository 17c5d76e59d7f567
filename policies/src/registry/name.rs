//! What a host name means: canonical names and their resolution.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{HostError, Registry, Service};
use crate::nearest::nearest;

/// What services of the mesh end with, whatever the trust domain.
const MESH_SUFFIX: &str = "svc.cluster.local";

/// A declared host, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// A service of the mesh.
    Mesh {
        /// Its first label.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// Any other host, in lower case.
    Other(String),
}

/// Understands a declared host: `name`, `name.ns`, `name.ns.svc` and `name.ns.svc.cluster.local` are one service.
pub(super) fn declared(host: &str, own_namespace: &str, namespaces: &HashSet<&str>) -> Declared {
    let host = tidy(host);
    let mesh = |name: &str, namespace: &str| Declared::Mesh {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    };
    let labels: Vec<&str> = host.split('.').collect();
    match labels.as_slice() {
        ["*", ..] => Declared::Other(host.into_owned()),
        [name] => mesh(name, own_namespace),
        [name, namespace] if namespaces.contains(namespace) => mesh(name, namespace),
        [name, namespace, "svc"] | [name, namespace, "svc", "cluster", "local"] => {
            mesh(name, namespace)
        }
        _ => Declared::Other(host.into_owned()),
    }
}

/// Every name of a mesh service but the short one; the last is canonical.
pub(super) fn aliases(name: &str, namespace: &str) -> [String; 3] {
    [
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.{MESH_SUFFIX}"),
    ]
}

fn tidy(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    }
}

/// The service that a name means, or why there is none; the nearest name is not looked for.
pub(super) fn lookup<'a>(
    registry: &'a Registry,
    name: &str,
    from_ns: &str,
) -> Result<&'a Service, HostError> {
    let host = tidy(name);
    let service = |index: usize| registry.services.get(index);
    if let Some(found) = registry.by_name.get(&*host).copied().and_then(service) {
        return Ok(found);
    }
    if let Some(candidates) = registry.by_short_name.get(&*host) {
        let services = candidates.iter().copied().filter_map(service);
        if let Some(own) = services
            .clone()
            .find(|service| &*service.namespace == from_ns)
        {
            return Ok(own);
        }
        match (services.clone().next(), services.clone().nth(1)) {
            (Some(only), None) => return Ok(only),
            (None, _) => {}
            (Some(_), Some(_)) => {
                let candidates = services.map(|service| service.host.to_string()).collect();
                return Err(HostError::Ambiguous { candidates });
            }
        }
    }
    let wildcard = registry
        .wildcards
        .iter()
        .find(|(pattern, _)| pattern.matches(&host));
    wildcard
        .and_then(|(_, index)| service(*index))
        .ok_or(HostError::Unknown { nearest: None })
}

/// As [`lookup`], with the nearest name; that takes a look at every name.
pub(super) fn resolve<'a>(
    registry: &'a Registry,
    name: &str,
    from_ns: &str,
) -> Result<&'a Service, HostError> {
    lookup(registry, name, from_ns).map_err(|error| match error {
        HostError::Unknown { .. } => {
            let host = tidy(name);
            let short = registry
                .by_short_name
                .keys()
                .filter(|_| !host.contains('.'));
            let long = registry.by_name.keys().filter(|_| host.contains('.'));
            let mut names: Vec<&str> = short.chain(long).map(|name| &**name).collect();
            names.sort_unstable();
            HostError::Unknown {
                nearest: nearest(&host, names).map(str::to_owned),
            }
        }
        ambiguous @ HostError::Ambiguous { .. } => ambiguous,
    })
}
