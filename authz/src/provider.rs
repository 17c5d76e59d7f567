//! Who is asked where an action is CUSTOM: one extension provider of the mesh for a workload, or nobody.

use policies::{
    document::{AuthorizationAction, AuthorizationPolicy, mesh_config::provider::ProviderKind},
    mesh::Mesh,
};

/// The one provider that the CUSTOM policies of a workload ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provider {
    pub(crate) name: Box<str>,
    /// Whether it can be asked about a connection that is not HTTP: the gRPC protocol only.
    pub(crate) takes_tcp: bool,
}

impl Provider {
    /// The provider of these policies: none if they name several, or one that cannot be asked.
    pub(crate) fn of<'a>(
        policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
        mesh: &Mesh,
    ) -> Option<Self> {
        let mut names = policies.into_iter().filter_map(name);
        let first = names.next()?;
        if names.any(|name| name != first) {
            return None;
        }
        let takes_tcp = takes_tcp(first, mesh)?;
        Some(Self {
            name: first.into(),
            takes_tcp,
        })
    }
}

/// The provider that a CUSTOM policy names.
pub(crate) fn name(policy: &AuthorizationPolicy) -> Option<&str> {
    match policy.action.value {
        AuthorizationAction::Custom => Some(policy.provider.as_ref()?.value.as_str()),
        AuthorizationAction::Allow | AuthorizationAction::Deny | AuthorizationAction::Audit => None,
    }
}

/// Whether the mesh has an authorizer of this name, and then whether it takes TCP.
pub(crate) fn takes_tcp(name: &str, mesh: &Mesh) -> Option<bool> {
    let mut providers = mesh.extension_providers.iter();
    let provider = providers.find(|provider| provider.name.value == name)?;
    match provider.kind {
        ProviderKind::ExtAuthzGrpc(_) => Some(true),
        ProviderKind::ExtAuthzHttp(_) => Some(false),
        ProviderKind::Zipkin(_)
        | ProviderKind::OpenTelemetry(_)
        | ProviderKind::Prometheus
        | ProviderKind::FileAccessLog { .. }
        | ProviderKind::GrpcAccessLog(_)
        | ProviderKind::OtherTracer(_) => None,
    }
}
