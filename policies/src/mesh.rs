//! What holds for the whole mesh (Istio's `MeshConfig`, as far as it is in force).

use crate::audience::Audience;
use crate::diagnostic::{Diagnostic, codes};
use crate::document::{
    DestinationRule, DocumentSet, ExtensionProvider, HttpRetry, MeshConfig, OutboundTrafficMode,
    ServiceEntry, Spanned, VirtualService, Visibility,
};

/// Mesh-wide settings that every process shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// The trust domain of our identities, such as `cluster.local`.
    pub trust_domain: String,
    /// Older names of the trust domain that policies may still use.
    pub trust_domain_aliases: Vec<String>,
    /// The namespace whose policies hold everywhere (Istio `rootNamespace`).
    pub root_namespace: String,
    /// The namespace of documents without `metadata.namespace`.
    pub default_namespace: String,
    /// How request paths are made canonical before they are judged, routed and forwarded.
    pub path_normalization: PathNormalization,
    /// Services outside the mesh that policies may name (Istio `extensionProviders`).
    pub extension_providers: Vec<ExtensionProvider>,
    /// When requests are sent again where a route does not say (Istio `defaultHttpRetryPolicy`).
    pub default_http_retry_policy: Option<HttpRetry>,
    /// What becomes of calls to hosts that no document declares, where no Sidecar says otherwise (Istio
    /// `outboundTrafficPolicy`; its default is ALLOW_ANY, ours REGISTRY_ONLY).
    pub outbound_traffic: OutboundTrafficMode,
    /// Who sees documents without `exportTo`.
    pub default_exports: DefaultExports,
}

/// Istio's `defaultServiceExportTo` and its like; empty lists mean everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultExports {
    /// `defaultServiceExportTo`.
    pub services: Vec<Visibility>,
    /// `defaultVirtualServiceExportTo`.
    pub routes: Vec<Visibility>,
    /// `defaultDestinationRuleExportTo`.
    pub rules: Vec<Visibility>,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            default_namespace: "default".to_owned(),
            path_normalization: PathNormalization::default(),
            extension_providers: Vec::new(),
            default_http_retry_policy: None,
            outbound_traffic: OutboundTrafficMode::RegistryOnly,
            default_exports: DefaultExports::default(),
        }
    }
}

impl Mesh {
    /// The settings with the set's MeshConfig applied, and what is wrong with it.
    pub fn effective(&self, documents: &DocumentSet) -> (Self, Vec<Diagnostic>) {
        let mut findings = Vec::new();
        let Some((first, others)) = documents.mesh_configs.split_first() else {
            return (self.clone(), findings);
        };
        for other in others {
            let message = format!(
                "a second MeshConfig `{}`, the first stands at {}",
                other.meta.qualified(),
                first.meta.at
            );
            let at = other.meta.at.clone();
            findings.push(
                Diagnostic::error(codes::SECOND_MESH_CONFIG, at, "kind", message)
                    .with_help("write what holds for the whole mesh into one document"),
            );
        }
        findings.extend(self.foreign_trust_domain(first));
        (self.with(first), findings)
    }

    fn with(&self, config: &MeshConfig) -> Self {
        let mut mesh = self.clone();
        if let Some(aliases) = &config.trust_domain_aliases {
            mesh.trust_domain_aliases = aliases.iter().map(|alias| alias.value.clone()).collect();
        }
        if let Some(namespace) = &config.root_namespace {
            mesh.root_namespace.clone_from(&namespace.value);
        }
        if let Some(normalization) = &config.path_normalization {
            mesh.path_normalization = normalization.value;
        }
        mesh.extension_providers
            .clone_from(&config.extension_providers);
        mesh.default_http_retry_policy
            .clone_from(&config.default_http_retry_policy);
        if let Some(mode) = config.outbound_traffic_policy {
            mesh.outbound_traffic = mode;
        }
        mesh.default_exports.clone_from(&config.default_exports);
        mesh
    }

    /// The namespaces that see a service.
    pub(crate) fn audience_of_service(&self, entry: &ServiceEntry) -> Audience {
        let default = &self.default_exports.services;
        Audience::of(&entry.export_to, default, &entry.meta.namespace)
    }

    /// The namespaces whose proxies look at the routes of a document.
    pub(crate) fn audience_of_routes(&self, document: &VirtualService) -> Audience {
        let default = &self.default_exports.routes;
        Audience::of(&document.export_to, default, &document.meta.namespace)
    }

    /// The namespaces whose proxies a rule holds for, besides its own.
    pub(crate) fn audience_of_rule(&self, rule: &DestinationRule) -> Audience {
        let default = &self.default_exports.rules;
        Audience::of(&rule.export_to, default, &rule.meta.namespace)
    }

    /// Identities are issued for the process's trust domain; a document cannot move it to another one.
    fn foreign_trust_domain(&self, config: &MeshConfig) -> Option<Diagnostic> {
        let Spanned { value, at, path } = config.trust_domain.as_ref()?;
        if *value == self.trust_domain {
            return None;
        }
        let message = format!(
            "the trust domain is `{}`, as the process's `identity.trustDomain` says, and not `{value}`",
            self.trust_domain
        );
        let diagnostic = Diagnostic::error(codes::FOREIGN_TRUST_DOMAIN, at.clone(), path, message);
        Some(diagnostic.with_help(format!(
            "write `{}`, or an older name into `trustDomainAliases`",
            self.trust_domain
        )))
    }
}

/// Istio's `MeshConfig.pathNormalization.normalization`; `DEFAULT` is [`Base`](Self::Base).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathNormalization {
    /// `NONE`: as received.
    None,
    /// `BASE`: unreserved escapes decoded, `\` is `/`, dot segments resolved.
    #[default]
    Base,
    /// `MERGE_SLASHES`: base, then `//` collapsed.
    MergeSlashes,
    /// `DECODE_AND_MERGE_SLASHES`: `%2f` and `%5c` decoded first.
    DecodeAndMergeSlashes,
}

impl PathNormalization {
    /// As in `pathNormalization.normalization`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }
}
