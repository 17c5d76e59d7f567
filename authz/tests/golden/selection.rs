//! Which policies hold for a workload: namespaces, selectors and `targetRefs`.

use policies::mesh::Mesh;

use crate::table::*;

#[test]
fn selection_by_namespace_and_labels() {
    let reach = |namespace: &str, selector: &str| {
        named(
            "p",
            namespace,
            &format!("{{{selector} action: DENY, rules: [{{}}]}}"),
        )
    };
    for (namespace, selector, expected) in [
        ("my-app", "", "deny p/0"),
        ("istio-system", "", "deny p/0"),
        ("elsewhere", "", "allow"),
        ("my-app", "selector: {},", "deny p/0"),
        ("my-app", "selector: {matchLabels: {}},", "deny p/0"),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service}},",
            "deny p/0",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service, version: v1}},",
            "deny p/0",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: product-service, version: v2}},",
            "allow",
        ),
        (
            "my-app",
            "selector: {matchLabels: {app: Product-service}},",
            "allow",
        ),
        ("my-app", "selector: {matchLabels: {tier: web}},", "allow"),
        (
            "istio-system",
            "selector: {matchLabels: {app: product-service}},",
            "deny p/0",
        ),
        (
            "istio-system",
            "selector: {matchLabels: {app: other}},",
            "allow",
        ),
        (
            "elsewhere",
            "selector: {matchLabels: {app: product-service}},",
            "allow",
        ),
    ] {
        table(
            &reach(namespace, selector),
            &[(case(ORDER, "GET /"), expected)],
        );
    }
}

const REFERENCE: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}], action: DENY, rules: [{}]";

#[test]
fn whoever_is_not_the_gateway_ignores_a_policy_with_target_refs() {
    for namespace in ["my-app", "istio-system"] {
        let yaml = named("p", namespace, &format!("{{{REFERENCE}}}"));
        table(&yaml, &[(case(ORDER, "GET /"), "allow")]);
    }
}

#[test]
fn a_gateway_by_name_has_the_policies_that_refer_to_it() {
    let mut gateway = workload();
    let label = "gateway.networking.k8s.io/gateway-name".to_owned();
    gateway.labels.insert(label, "edge".to_owned());
    let other = "{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: other}, action: DENY, rules: [{}]}";
    let by_label = "{selector: {matchLabels: {app: product-service}}, action: DENY, rules: [{}]}";
    for (namespace, spec, expected) in [
        ("my-app", format!("{{{REFERENCE}}}"), "deny p/0"),
        // A reference reaches its own namespace only, also from the root namespace.
        ("istio-system", format!("{{{REFERENCE}}}"), "allow"),
        ("elsewhere", format!("{{{REFERENCE}}}"), "allow"),
        ("my-app", other.to_owned(), "allow"),
        // Selectors still hold for gateways.
        ("my-app", by_label.to_owned(), "deny p/0"),
        (
            "istio-system",
            "{action: DENY, rules: [{}]}".to_owned(),
            "deny p/0",
        ),
    ] {
        let set = compile_for(&named("p", namespace, &spec), &Mesh::default(), &gateway);
        let actual = outcome(&set, &case(ORDER, "GET /"), &Mesh::default());
        assert_eq!(actual, expected, "{namespace} {spec}");
    }
}
