//! What a document is, by its `apiVersion` and `kind`.

use crate::document::Kind;

/// What to do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Read it.
    Read(Kind),
    /// `kind: List`: read its items.
    List,
    /// Another system's document: tolerated.
    Foreign,
    /// A traffic kind that comes later: a warning.
    Later,
    /// A security kind that is not in force: refused, with the reason.
    Refused(&'static str),
    /// A group that we know, with a version that the kind does not have.
    UnknownVersion {
        /// The right `apiVersion`.
        expected: &'static str,
    },
    /// A kind that its group does not have.
    UnknownKind,
}

/// A row of the table of kinds.
struct Row {
    group: &'static str,
    kind: &'static str,
    versions: &'static [&'static str],
    /// What help lines recommend.
    newest: &'static str,
    class: Class,
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const OURS: &str = "portcullis.dev";

const NETWORKING_VERSIONS: &[&str] = &["v1alpha3", "v1beta1", "v1"];
const SECURITY_VERSIONS: &[&str] = &["v1beta1", "v1"];

const fn networking(kind: &'static str, class: Class) -> Row {
    Row {
        group: NETWORKING,
        kind,
        versions: NETWORKING_VERSIONS,
        newest: "networking.istio.io/v1",
        class,
    }
}

const fn security(kind: &'static str, class: Class) -> Row {
    Row {
        group: SECURITY,
        kind,
        versions: SECURITY_VERSIONS,
        newest: "security.istio.io/v1",
        class,
    }
}

const KINDS: &[Row] = &[
    networking("VirtualService", Class::Read(Kind::VirtualService)),
    networking("DestinationRule", Class::Read(Kind::DestinationRule)),
    networking("Gateway", Class::Read(Kind::Gateway)),
    networking("ServiceEntry", Class::Read(Kind::ServiceEntry)),
    networking("WorkloadEntry", Class::Read(Kind::WorkloadEntry)),
    networking("Sidecar", Class::Later),
    networking("WorkloadGroup", Class::Later),
    networking("ProxyConfig", Class::Later),
    networking(
        "EnvoyFilter",
        Class::Refused("there is no Envoy here to patch, and a filter may protect something"),
    ),
    security(
        "AuthorizationPolicy",
        Class::Read(Kind::AuthorizationPolicy),
    ),
    security("PeerAuthentication", Class::Read(Kind::PeerAuthentication)),
    security(
        "RequestAuthentication",
        Class::Refused("tokens would not be checked"),
    ),
    Row {
        group: "telemetry.istio.io",
        kind: "Telemetry",
        versions: &["v1alpha1", "v1"],
        newest: "telemetry.istio.io/v1",
        class: Class::Later,
    },
    Row {
        group: "extensions.istio.io",
        kind: "WasmPlugin",
        versions: &["v1alpha1"],
        newest: "extensions.istio.io/v1alpha1",
        class: Class::Refused(
            "WebAssembly plug-ins are not supported, and one may protect something",
        ),
    },
    Row {
        group: "install.istio.io",
        kind: "IstioOperator",
        versions: &["v1alpha1"],
        newest: "install.istio.io/v1alpha1",
        class: Class::Foreign,
    },
    Row {
        group: "dapr.io",
        kind: "Component",
        versions: &["v1alpha1"],
        newest: "dapr.io/v1alpha1",
        class: Class::Refused("Dapr's state stores and message brokers are not part of a mesh"),
    },
    Row {
        group: OURS,
        kind: "RegistrationEntry",
        versions: &["v1"],
        newest: "portcullis.dev/v1",
        class: Class::Read(Kind::RegistrationEntry),
    },
];

/// Classifies a document.
pub(super) fn classify(api_version: &str, kind: &str) -> Class {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if kind == "List" || (group.is_empty() && kind.ends_with("List")) {
        return Class::List;
    }
    if let Some(row) = KINDS
        .iter()
        .find(|row| row.group == group && row.kind == kind)
    {
        return if row.versions.contains(&version) {
            row.class
        } else {
            Class::UnknownVersion {
                expected: row.newest,
            }
        };
    }
    if !is_known_group(group) {
        return Class::Foreign;
    }
    match KINDS
        .iter()
        .find(|row| row.kind == kind && is_known_group(row.group))
    {
        Some(row) => Class::UnknownVersion {
            expected: row.newest,
        },
        None => Class::UnknownKind,
    }
}

/// Names for "did you mean": the kinds of our groups.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|row| row.kind)
}

fn is_known_group(group: &str) -> bool {
    group == OURS || group == "istio.io" || group.ends_with(".istio.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_in_use_is_read() {
        for version in ["v1alpha3", "v1beta1", "v1"] {
            let class = classify(&format!("networking.istio.io/{version}"), "VirtualService");
            assert_eq!(class, Class::Read(Kind::VirtualService));
        }
        assert_eq!(
            classify("security.istio.io/v1", "AuthorizationPolicy"),
            Class::Read(Kind::AuthorizationPolicy)
        );
    }

    #[test]
    fn strangers_are_told_from_mistakes() {
        assert_eq!(classify("apps/v1", "Deployment"), Class::Foreign);
        assert_eq!(classify("v1", "Namespace"), Class::Foreign);
        assert_eq!(
            classify("gateway.networking.k8s.io/v1", "Gateway"),
            Class::Foreign
        );
        assert_eq!(
            classify("networking.istio.io/v1", "VirtualServices"),
            Class::UnknownKind
        );
        assert_eq!(
            classify("portcullis.dev/v1", "Anything"),
            Class::UnknownKind
        );
        assert!(matches!(
            classify("networking.istio.io/v2", "Gateway"),
            Class::UnknownVersion { .. }
        ));
        assert!(matches!(
            classify("networking.istio.io/v1", "AuthorizationPolicy"),
            Class::UnknownVersion { .. }
        ));
    }
}
