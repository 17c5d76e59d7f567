//! What a document is, by its `apiVersion` and `kind`.

use crate::document::Kind;

/// What to do with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Read it.
    Read(Kind),
    /// `kind: List`: read its items.
    List,
    /// `IstioOperator`: read its `meshConfig`.
    Operator,
    /// `EnvoyFilter`: read if it limits rates, else refused.
    EnvoyFilter,
    /// Another system's document: tolerated.
    Foreign,
    /// A document of the Gateway API: a warning that says what to write instead.
    GatewayApi(&'static str),
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

/// A row of the table of kinds that are known, but are no [`Kind`].
struct Row {
    group: &'static str,
    kind: &'static str,
    versions: &'static [&'static str],
    /// What help lines recommend.
    newest: &'static str,
    class: Class,
}

const OTHERS: &[Row] = &[
    Row {
        group: "networking.istio.io",
        kind: "EnvoyFilter",
        versions: &["v1alpha3"],
        newest: "networking.istio.io/v1alpha3",
        class: Class::EnvoyFilter,
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
        class: Class::Operator,
    },
    Row {
        group: "dapr.io",
        kind: "Component",
        versions: &["v1alpha1"],
        newest: "dapr.io/v1alpha1",
        class: Class::Refused("Dapr's state stores and message brokers are not part of a mesh"),
    },
];

/// Classifies a document.
pub(super) fn classify(api_version: &str, kind: &str) -> Class {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let of_many = kind.strip_suffix("List");
    let of_ours = |one: &str| {
        let mut kinds = Kind::ALL.iter();
        kinds.any(|kind| kind.as_str() == one && kind.group() == group)
    };
    if of_many.is_some_and(|one| one.is_empty() || group.is_empty() || of_ours(one)) {
        return Class::List;
    }
    let known = |versions: &[&str], class: Class, expected: &'static str| {
        if versions.contains(&version) {
            class
        } else {
            Class::UnknownVersion { expected }
        }
    };
    let ours = Kind::ALL
        .iter()
        .copied()
        .find(|known| known.as_str() == kind);
    if let Some(kind) = ours.filter(|kind| kind.group() == group) {
        return known(
            kind.versions(),
            Class::Read(kind),
            kind.newest_api_version(),
        );
    }
    let other = OTHERS.iter().find(|row| row.kind == kind);
    if let Some(row) = other.filter(|row| row.group == group) {
        return known(row.versions, row.class, row.newest);
    }
    if group == "gateway.networking.k8s.io" || group == "gateway.networking.x-k8s.io" {
        return Class::GatewayApi(instead_of(kind));
    }
    if !is_known_group(group) {
        return Class::Foreign;
    }
    let expected = ours
        .map(Kind::newest_api_version)
        .or_else(|| other.map(|row| row.newest));
    expected.map_or(Class::UnknownKind, |expected| Class::UnknownVersion {
        expected,
    })
}

/// The groups of [`is_known_group`] as a regular expression over `apiVersion`.
pub(crate) const OUR_GROUPS: &str = r"^(portcullis\.dev|istio\.io|.*\.istio\.io)/";

/// Names for "did you mean": the kinds of our groups.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let others = OTHERS.iter().map(|row| row.kind);
    Kind::ALL.iter().map(|kind| kind.as_str()).chain(others)
}

/// What says here what a kind of the Gateway API says.
fn instead_of(kind: &str) -> &'static str {
    match kind {
        "Gateway" | "ListenerSet" | "XListenerSet" => {
            "write a Gateway of `networking.istio.io/v1` with `selector: {istio: ingressgateway}`"
        }
        "HTTPRoute" | "GRPCRoute" => {
            "write a VirtualService of `networking.istio.io/v1` with `http` routes"
        }
        "TLSRoute" => "write a VirtualService of `networking.istio.io/v1` with `tls` routes",
        "TCPRoute" | "UDPRoute" => {
            "write a VirtualService of `networking.istio.io/v1` with `tcp` routes"
        }
        "BackendTLSPolicy" | "BackendTrafficPolicy" | "XBackendTrafficPolicy" => {
            "write a DestinationRule of `networking.istio.io/v1`"
        }
        _ => "remove it: a Gateway and a VirtualService of `networking.istio.io/v1` do without",
    }
}

fn is_known_group(group: &str) -> bool {
    group == Kind::RateLimit.group() || group == "istio.io" || group.ends_with(".istio.io")
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
        assert_eq!(classify("v1", "Namespace"), Class::Read(Kind::Namespace));
        for (api_version, kind) in [
            ("v1", "List"),
            ("v1", "ServiceList"),
            ("networking.istio.io/v1", "GatewayList"),
        ] {
            assert_eq!(classify(api_version, kind), Class::List);
        }
        assert_eq!(
            classify("v2", "Namespace"),
            Class::UnknownVersion { expected: "v1" }
        );
        assert!(matches!(
            classify("gateway.networking.k8s.io/v1", "HTTPRoute"),
            Class::GatewayApi(help) if help.contains("VirtualService")
        ));
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
