//! CUSTOM policies whose requests nobody could be asked about: they are denied, which few authors mean.

use std::collections::BTreeMap;

use policies::{
    diagnostic::Diagnostic,
    document::{AuthorizationPolicy, DocumentSet, Spanned},
    mesh::Mesh,
    registry::Registry,
};

use crate::{codes, provider};

/// A CUSTOM policy and the provider that it names.
type Asking<'a> = (&'a AuthorizationPolicy, &'a Spanned<String>);

/// Finds providers that the mesh does not have, and workloads whose policies name more than one.
pub(super) fn check(
    documents: &DocumentSet,
    registry: &Registry,
    mesh: &Mesh,
    found: &mut Vec<Diagnostic>,
) {
    let mut asking: Vec<Asking<'_>> = Vec::new();
    for policy in &documents.authorization_policies {
        let Some(provider) = policy
            .provider
            .as_ref()
            .filter(|_| provider::name(policy).is_some())
        else {
            continue;
        };
        if provider::takes_tcp(provider, mesh).is_none() {
            found.push(unknown(policy, provider, mesh));
        }
        let other = asking.iter().find(|(other, name)| {
            name.value != provider.value && may_meet(other, policy, registry, mesh)
        });
        if let Some(other) = other {
            found.push(several(policy, provider, other));
        }
        asking.push((policy, provider));
    }
}

/// Whether some workload surely has both policies: one selects whatever the other does, or a declared one is selected.
fn may_meet(
    one: &AuthorizationPolicy,
    other: &AuthorizationPolicy,
    registry: &Registry,
    mesh: &Mesh,
) -> bool {
    let wide = |policy: &AuthorizationPolicy| policy.meta.namespace == mesh.root_namespace;
    let together = one.meta.namespace == other.meta.namespace || wide(one) || wide(other);
    if !together || !one.target_refs.is_empty() || !other.target_refs.is_empty() {
        return false;
    }
    let labels = |policy: &AuthorizationPolicy| -> BTreeMap<String, String> {
        let labels = policy.selector.iter().flat_map(|found| &found.match_labels);
        labels
            .map(|(name, value)| (name.clone(), value.value.clone()))
            .collect()
    };
    let selects = |policy: &AuthorizationPolicy, labels: &BTreeMap<String, String>| {
        policy
            .selector
            .as_ref()
            .is_none_or(|selector| selector.matches(labels))
    };
    if selects(one, &labels(other)) || selects(other, &labels(one)) {
        return true;
    }
    let mut endpoints = registry
        .services()
        .flat_map(|service| &service.endpoints)
        .map(|found| &found.endpoint);
    endpoints.any(|endpoint| {
        [one, other].into_iter().all(|policy| {
            (wide(policy) || *policy.meta.namespace == *endpoint.workload.namespace)
                && selects(policy, &endpoint.labels)
        })
    })
}

fn unknown(policy: &AuthorizationPolicy, provider: &Spanned<String>, mesh: &Mesh) -> Diagnostic {
    let known: Vec<String> = mesh
        .extension_providers
        .iter()
        .filter(|known| provider::takes_tcp(&known.name.value, mesh).is_some())
        .map(|known| format!("`{}`", known.name.value))
        .collect();
    let message = format!(
        "the mesh has no authorization provider `{}`: whatever the rules of {} match is denied",
        provider.value, policy.meta
    );
    let help = if known.is_empty() {
        "declare it in `extensionProviders` of the MeshConfig as `envoyExtAuthzGrpc` or `envoyExtAuthzHttp`".to_owned()
    } else {
        format!(
            "declare it in `extensionProviders` of the MeshConfig, or name one of {}",
            known.join(", ")
        )
    };
    let (at, path) = (provider.at.clone(), &provider.path);
    Diagnostic::warning(codes::UNKNOWN_PROVIDER, at, path, message).with_help(help)
}

fn several(
    policy: &AuthorizationPolicy,
    provider: &Spanned<String>,
    (other, first): &Asking<'_>,
) -> Diagnostic {
    let message = format!(
        "{} asks `{}` and {} at {} asks `{}`: where both hold, whatever their rules match is denied",
        policy.meta, provider.value, other.meta, other.meta.at, first.value
    );
    let (at, path) = (provider.at.clone(), &provider.path);
    Diagnostic::warning(codes::SEVERAL_PROVIDERS, at, path, message)
        .with_help("name one provider in all CUSTOM policies of a workload")
}
