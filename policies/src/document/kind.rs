//! The kinds that are read, and what each is called.

use std::fmt;

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const OURS: &str = "portcullis.dev";

/// A kind of document that this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `networking.istio.io` Gateway.
    Gateway,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` WorkloadEntry.
    WorkloadEntry,
    /// `networking.istio.io` WorkloadGroup.
    WorkloadGroup,
    /// `networking.istio.io` Sidecar.
    Sidecar,
    /// `networking.istio.io` ProxyConfig.
    ProxyConfig,
    /// `security.istio.io` AuthorizationPolicy.
    AuthorizationPolicy,
    /// `security.istio.io` PeerAuthentication.
    PeerAuthentication,
    /// `security.istio.io` RequestAuthentication.
    RequestAuthentication,
    /// `telemetry.istio.io` Telemetry.
    Telemetry,
    /// `portcullis.dev` MeshConfig: Istio's mesh configuration as a document.
    MeshConfig,
    /// `portcullis.dev` RateLimit.
    RateLimit,
    /// `portcullis.dev` HealthCheck.
    HealthCheck,
    /// `portcullis.dev` Fallback.
    Fallback,
    /// `portcullis.dev` RegistrationEntry.
    RegistrationEntry,
    /// `portcullis.dev` PolicyTest.
    PolicyTest,
    /// Kubernetes' Namespace.
    Namespace,
}

/// What a kind is called, in one row.
struct Names {
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    group: &'static str,
    /// Oldest first.
    versions: &'static [&'static str],
    newest_api_version: &'static str,
}

impl Kind {
    /// Every kind that is read.
    pub const ALL: &'static [Self] = &[
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::Sidecar,
        Self::ProxyConfig,
        Self::AuthorizationPolicy,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::Telemetry,
        Self::MeshConfig,
        Self::RateLimit,
        Self::HealthCheck,
        Self::Fallback,
        Self::RegistrationEntry,
        Self::PolicyTest,
        Self::Namespace,
    ];

    /// As written in `kind:`.
    pub fn as_str(self) -> &'static str {
        self.names().kind
    }

    /// The name of several, in lower case, as in `kubectl get`: `virtualservices`.
    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    /// The short names of `kubectl get`: `vs`.
    pub fn short_names(self) -> &'static [&'static str] {
        self.names().short
    }

    /// The part of `apiVersion` before `/`: `networking.istio.io`; empty for Kubernetes' core.
    pub fn group(self) -> &'static str {
        self.names().group
    }

    /// The versions that are read, oldest first: the part of `apiVersion` after `/`.
    pub fn versions(self) -> &'static [&'static str] {
        self.names().versions
    }

    /// The `apiVersion` to write: `networking.istio.io/v1`.
    pub fn newest_api_version(self) -> &'static str {
        self.names().newest_api_version
    }

    /// Whether its documents belong to a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::MeshConfig | Self::Namespace)
    }

    /// The kind of a name as people type it: singular, plural or short, in any case, with or without `.<group>`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (name, group) = match text.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (text.as_str(), None),
        };
        Self::ALL.iter().copied().find(|kind| {
            let names = kind.names();
            let named = name == names.plural
                || names.short.contains(&name)
                || name.eq_ignore_ascii_case(names.kind);
            named && group.is_none_or(|group| group == names.group)
        })
    }

    const fn names(self) -> &'static Names {
        match self {
            Self::VirtualService => {
                const { &networking("VirtualService", "virtualservices", &["vs"]) }
            }
            Self::DestinationRule => {
                const { &networking("DestinationRule", "destinationrules", &["dr"]) }
            }
            Self::Gateway => const { &networking("Gateway", "gateways", &["gw"]) },
            Self::ServiceEntry => const { &networking("ServiceEntry", "serviceentries", &["se"]) },
            Self::WorkloadEntry => {
                const { &networking("WorkloadEntry", "workloadentries", &["we"]) }
            }
            Self::WorkloadGroup => {
                const { &networking("WorkloadGroup", "workloadgroups", &["wg"]) }
            }
            Self::Sidecar => const { &networking("Sidecar", "sidecars", &[]) },
            Self::ProxyConfig => &Names {
                kind: "ProxyConfig",
                plural: "proxyconfigs",
                short: &[],
                group: NETWORKING,
                versions: &["v1beta1"],
                newest_api_version: "networking.istio.io/v1beta1",
            },
            Self::AuthorizationPolicy => {
                const { &security("AuthorizationPolicy", "authorizationpolicies", &["ap"]) }
            }
            Self::PeerAuthentication => {
                const { &security("PeerAuthentication", "peerauthentications", &["pa"]) }
            }
            Self::RequestAuthentication => {
                const { &security("RequestAuthentication", "requestauthentications", &["ra"]) }
            }
            Self::Telemetry => &Names {
                kind: "Telemetry",
                plural: "telemetries",
                short: &[],
                group: TELEMETRY,
                versions: &["v1alpha1", "v1"],
                newest_api_version: "telemetry.istio.io/v1",
            },
            Self::MeshConfig => const { &ours("MeshConfig", "meshconfigs", &["mc"]) },
            Self::RateLimit => const { &ours("RateLimit", "ratelimits", &["rl"]) },
            Self::HealthCheck => const { &ours("HealthCheck", "healthchecks", &["hc"]) },
            Self::Fallback => const { &ours("Fallback", "fallbacks", &["fb"]) },
            Self::RegistrationEntry => {
                const { &ours("RegistrationEntry", "registrationentries", &["re"]) }
            }
            Self::PolicyTest => const { &ours("PolicyTest", "policytests", &["pt"]) },
            Self::Namespace => &Names {
                kind: "Namespace",
                plural: "namespaces",
                short: &["ns"],
                group: "",
                versions: &["v1"],
                newest_api_version: "v1",
            },
        }
    }
}

const fn networking(
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Names {
    Names {
        kind,
        plural,
        short,
        group: NETWORKING,
        versions: &["v1alpha3", "v1beta1", "v1"],
        newest_api_version: "networking.istio.io/v1",
    }
}

const fn security(
    kind: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
) -> Names {
    Names {
        kind,
        plural,
        short,
        group: SECURITY,
        versions: &["v1beta1", "v1"],
        newest_api_version: "security.istio.io/v1",
    }
}

const fn ours(kind: &'static str, plural: &'static str, short: &'static [&'static str]) -> Names {
    Names {
        kind,
        plural,
        short,
        group: OURS,
        versions: &["v1"],
        newest_api_version: "portcullis.dev/v1",
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        for (text, kind) in [
            ("VirtualService", Kind::VirtualService),
            ("virtualservice", Kind::VirtualService),
            ("VIRTUALSERVICES", Kind::VirtualService),
            ("vs", Kind::VirtualService),
            ("virtualservices.networking.istio.io", Kind::VirtualService),
            ("vs.networking.istio.io", Kind::VirtualService),
            ("ServiceEntries", Kind::ServiceEntry),
            ("ra", Kind::RequestAuthentication),
            ("telemetry", Kind::Telemetry),
            ("ratelimits.portcullis.dev", Kind::RateLimit),
            ("hc", Kind::HealthCheck),
            ("ns", Kind::Namespace),
        ] {
            assert_eq!(Kind::parse(text), Some(kind), "{text}");
        }
        for text in [
            "",
            "vss",
            "deployment",
            "gateways.gateway.networking.k8s.io",
        ] {
            assert_eq!(Kind::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut seen = HashSet::new();
        for kind in Kind::ALL {
            let singular = kind.as_str().to_ascii_lowercase();
            let names = [singular.as_str(), kind.plural()]
                .into_iter()
                .chain(kind.short_names().iter().copied());
            for name in names.collect::<HashSet<_>>() {
                assert!(seen.insert(name.to_owned()), "{name}");
            }
            let newest = kind.newest_api_version();
            let version = newest.rsplit('/').next().unwrap_or_default();
            assert!(kind.versions().contains(&version), "{kind}");
            assert!(newest.starts_with(kind.group()), "{kind}");
        }
    }
}
