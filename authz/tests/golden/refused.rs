//! What is refused when documents are loaded, and what is warned about.

use authz::PolicySet;
use policies::{load::load, mesh::Mesh, source::SourceFile};

use crate::table::*;

/// What is refused at load: the code, and a part of the message.
#[test]
fn what_cannot_be_honoured_is_refused() {
    let spec = |text: &str| policy(text);
    let mesh = Mesh::default();
    for (yaml, code, part) in [
        (
            spec("{action: CUSTOM, provider: {name: x}, rules: []}"),
            "PC0406",
            "without rules",
        ),
        (
            spec(
                "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {trustDomains: [x]}}]}]}",
            ),
            "PC0124",
            "`trustDomains`",
        ),
        (
            spec(
                "{action: CUSTOM, provider: {name: x}, rules: [{when: [{key: source.trustDomain, values: [x]}]}]}",
            ),
            "PC0124",
            "`source.trustDomain`",
        ),
        (
            spec(
                "{action: CUSTOM, provider: {name: x}, rules: [{from: [{source: {requestPrincipals: [x]}}]}]}",
            ),
            "PC0124",
            "`requestPrincipals`",
        ),
        (
            spec(
                "{action: CUSTOM, provider: {name: x}, rules: [{when: [{key: 'request.auth.claims[a]', values: [x]}]}]}",
            ),
            "PC0124",
            "request.auth.claims[a]",
        ),
        (
            spec("{targetRefs: [{group: '', kind: Service, name: s}], rules: [{}]}"),
            "PC0412",
            "Service `s`",
        ),
        (
            spec(
                "{targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: s}], rules: [{}]}",
            ),
            "PC0412",
            "ServiceEntry `s`",
        ),
        (
            spec(
                "{targetRef: {group: gateway.networking.k8s.io, kind: GatewayClass, name: c}, rules: [{}]}",
            ),
            "PC0412",
            "GatewayClass `c`",
        ),
        (
            allow("{when: [{key: request.auth.claims, values: [x]}]}"),
            "PC0404",
            "request.auth.claims",
        ),
        (
            allow("{when: [{key: 'request.auth.claims[]', values: [x]}]}"),
            "PC0405",
            "request.auth.claims[]",
        ),
        (
            allow("{when: [{key: 'request.auth.claims[a]b', values: [x]}]}"),
            "PC0405",
            "request.auth.claims[a]b",
        ),
        (
            allow("{when: [{key: 'request.auth.claims[a[b]]', values: [x]}]}"),
            "PC0405",
            "request.auth.claims[a[b]]",
        ),
        (
            allow("{when: [{key: request.auth.Principal, values: [x]}]}"),
            "PC0404",
            "request.auth.Principal",
        ),
        (
            allow("{when: [{key: 'experimental.envoy.filters.x[y]', values: [x]}]}"),
            "PC0403",
            "experimental",
        ),
        (
            allow("{when: [{key: Source.ip, values: [10.0.0.1]}]}"),
            "PC0404",
            "`Source.ip`",
        ),
        (
            allow("{when: [{key: request.headers, values: [x]}]}"),
            "PC0404",
            "request.headers",
        ),
        (
            allow("{when: [{key: 'request.headers[:path]', values: [x]}]}"),
            "PC0405",
            ":path",
        ),
        (
            allow("{when: [{key: source.ip, values: [10.0.0]}]}"),
            "PC0405",
            "`10.0.0`",
        ),
        (
            allow("{when: [{key: destination.port, values: [http]}]}"),
            "PC0405",
            "`http`",
        ),
        (
            allow("{to: [{operation: {paths: ['/a{*}']}}]}"),
            "PC0405",
            "`/a{*}`",
        ),
        (
            allow("{to: [{operation: {paths: ['/{**}/{*}']}}]}"),
            "PC0405",
            "`/{**}/{*}`",
        ),
        (
            allow("{from: [{source: {serviceAccounts: ['a/b/c']}}]}"),
            "PC0405",
            "`a/b/c`",
        ),
        (
            allow("{from: [{source: {serviceAccounts: ['a/*']}}]}"),
            "PC0405",
            "`a/*`",
        ),
        (
            allow("{from: [{source: {principals: []}}]}"),
            "PC0115",
            "`principals`",
        ),
        (
            allow("{to: [{operation: {methods: []}}]}"),
            "PC0115",
            "`methods`",
        ),
        (
            allow("{when: [{key: source.ip, values: []}]}"),
            "PC0115",
            "`values`",
        ),
        (allow("{from: []}"), "PC0115", "`from`"),
        (
            allow("{from: [{source: {principals: [], namespaces: [a]}}]}"),
            "PC0115",
            "`principals`",
        ),
        (spec("{action: DENY, rules: []}"), "PC0406", "without rules"),
        (
            allow("{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}"),
            "PC0408",
            "`serviceAccounts`",
        ),
        (tried(&policy("{rules: [{}]}"), "maybe"), "PC0411", "maybe"),
        (tried(&policy("{rules: [{}]}"), ""), "PC0411", "neither"),
        (
            tried(&policy("{action: AUDIT, rules: [{}]}"), "true"),
            "PC0411",
            "istio.io/dry-run",
        ),
        (
            tried(&policy("{action: AUDIT, rules: [{}]}"), "false"),
            "PC0411",
            "istio.io/dry-run",
        ),
        (
            tried(
                &policy("{action: CUSTOM, provider: {name: x}, rules: [{}]}"),
                "true",
            ),
            "PC0411",
            "istio.io/dry-run",
        ),
    ] {
        let file = SourceFile::new("golden.yaml", yaml.as_str());
        let loaded = load(std::slice::from_ref(&file), &mesh);
        let findings = [loaded.diagnostics, findings(&loaded.documents, &mesh)].concat();
        let set = PolicySet::compile(&loaded.documents, &workload(), &mesh);
        let found = findings
            .iter()
            .filter(|finding| finding.is_error())
            .collect::<Vec<_>>();
        let [finding] = found.as_slice() else {
            panic!("expected {code} alone: {found:#?}\n{yaml}")
        };
        assert_eq!(finding.code.to_string(), code, "{finding}");
        assert!(finding.message.contains(part), "{finding}");
        assert!(finding.help.is_some(), "{finding}");
        assert_eq!(&*finding.at.file, "golden.yaml", "{finding}");
        // What the reader refuses is not in the set at all; what this crate refuses closes it.
        if code.starts_with("PC04") {
            let outcome = outcome(&set, &case(ORDER, "GET /"), &mesh);
            assert_eq!(outcome, "deny", "a set with errors denies\n{yaml}");
        }
    }
}

#[test]
fn what_can_never_match_is_a_warning() {
    let mesh = Mesh::default();
    for yaml in [
        allow("{from: [{source: {principals: ['spiffe://cluster.local/ns/a/sa/b']}}]}"),
        allow("{to: [{operation: {paths: ['/a?b']}}]}"),
        allow("{when: [{key: connection.sni, values: [Example.com]}]}"),
    ] {
        let loaded = load(&[SourceFile::new("golden.yaml", yaml.as_str())], &mesh);
        let findings = findings(&loaded.documents, &mesh);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(
            findings
                .iter()
                .all(|finding| !finding.is_error() && finding.code.to_string() == "PC0409")
        );
    }
}
