//! What makes a set wrong does not depend on the proxy that asks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod support;

use policies::check::check;
use policies::load::load;
use policies::source::SourceFile;
use support::mesh;

/// Every finding of the check as one line, without the file's name.
fn findings(text: &str) -> Vec<String> {
    let loaded = load(&[SourceFile::new("f", text)], &mesh());
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|finding| finding.is_error())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let (_, found) = check(&loaded.documents, &mesh());
    found.iter().map(ToString::to_string).collect()
}

fn service(name: &str, namespace: &str, endpoints: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{hosts: [{name}.{namespace}.svc.cluster.local], ports: [{{number: 80, name: http, protocol: HTTP}}], \
         location: MESH_INTERNAL, resolution: STATIC, endpoints: [{endpoints}]}}\n"
    )
}

fn document(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn route(host: &str, subset: &str) -> String {
    format!(
        "{{hosts: [{host}], http: [{{timeout: 1s, route: [{{destination: {{host: {host}, subset: {subset}}}}}]}}]}}"
    )
}

const ENDPOINT: &str = "{address: 10.0.0.1, labels: {version: v1}, serviceAccount: a}";

#[test]
fn gateways_for_one_workload_must_agree() {
    let gateway = |name: &str, selector: &str, server: &str| {
        document(
            "Gateway",
            name,
            "edge",
            &format!("{{selector: {selector}, servers: [{server}]}}"),
        )
    };
    let http = "{port: {number: 443, name: a, protocol: HTTP}, hosts: [a.example.com]}";
    let https = |credential: &str| {
        format!(
            "{{port: {{number: 443, name: b, protocol: HTTPS}}, hosts: [a.example.com], \
             tls: {{mode: SIMPLE, credentialName: {credential}}}}}"
        )
    };
    let both = |one: &str, first: &str, two: &str, second: &str| {
        findings(&(gateway("one", one, first) + &gateway("two", two, second)))
    };
    // Different workloads may speak differently.
    assert!(both("{app: a}", http, "{app: b}", &https("first")).is_empty());
    assert!(both("{app: a}", &https("first"), "{app: b}", &https("second")).is_empty());
    assert!(both("{app: a}", &https("first"), "{tier: edge}", &https("first")).is_empty());
    for (one, two) in [
        ("{app: a}", "{app: a}"),
        ("{app: a}", "{tier: edge}"),
        ("{}", "{app: b}"),
    ] {
        let found = both(one, http, two, &https("first"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("f:10:")
                && found[0]
                    .contains("error[PC0308]: port 443 cannot speak HTTPS here and HTTP at f:5:"),
            "{found:?}"
        );
        let found = both(one, &https("first"), two, &https("second"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("error[PC0308]: the host `a.example.com` on port 443 has another TLS configuration at f:5:"),
            "{found:?}"
        );
    }
}

#[test]
fn hosts_that_no_gateway_has() {
    let gateway = |hosts: &str| {
        document(
            "Gateway",
            "edge",
            "edge",
            &format!(
                "{{servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: {hosts}}}]}}"
            ),
        )
    };
    let virtual_service = |hosts: &str, gateways: &str| {
        document(
            "VirtualService",
            "v",
            "my-app",
            &format!(
                "{{hosts: {hosts}, gateways: {gateways}, http: [{{directResponse: {{status: 200}}}}]}}"
            ),
        )
    };
    let unbound = |servers: &str, hosts: &str| {
        let found = findings(&(gateway(servers) + &virtual_service(hosts, "[edge/edge]")));
        assert!(
            found.iter().all(|line| line.contains("warning[PC0309]")),
            "{found:?}"
        );
        found.len()
    };
    for (servers, hosts, expected) in [
        ("['*']", "[a.b]", 0),
        ("['*']", "['*']", 0),
        ("[a.b]", "['*']", 0),
        ("['*.b']", "[a.b]", 0),
        ("['*.b']", "[b]", 1),
        ("['*.b']", "['*.a.b']", 0),
        ("['*.a.b']", "['*.b']", 0),
        ("[x.a.b]", "['*.b']", 0),
        ("[x.a.b]", "['*.c']", 1),
        ("[a.b]", "[a.b, c.d]", 1),
        ("[my-app/a.b]", "[a.b]", 0),
        ("[other/a.b]", "[a.b]", 1),
        ("[./a.b]", "[a.b]", 1),
        ("['other/*', '*/a.b']", "[a.b]", 0),
    ] {
        assert_eq!(unbound(servers, hosts), expected, "{servers} {hosts}");
    }
    // A document for the mesh as well lists names that only the mesh knows.
    let mixed = gateway("[a.b]") + &virtual_service("[a.b, inside]", "[mesh, edge/edge]");
    assert_eq!(findings(&mixed), Vec::<String>::new());
}

#[test]
fn two_documents_for_one_host_of_the_mesh() {
    let plain = |name: &str, namespace: &str, host: &str| {
        document(
            "VirtualService",
            name,
            namespace,
            &format!("{{hosts: [{host}], http: [{{directResponse: {{status: 200}}}}]}}"),
        )
    };
    let text = service("a", "my-app", ENDPOINT)
        + &plain("one", "my-app", "a")
        + &plain("two", "elsewhere", "a.my-app.svc.cluster.local");
    assert_eq!(
        findings(&text),
        [
            "f:15:16: error[PC0306]: the host `a.my-app.svc.cluster.local` is routed by VirtualService `my-app/one` already \
             (help: write all routes of a host into one VirtualService)"
        ]
    );
}

#[test]
fn endpoints_are_judged_for_every_client() {
    let rule = |namespace: &str, extra: &str| {
        document(
            "DestinationRule",
            "r",
            namespace,
            &format!(
                "{{host: a.my-app.svc.cluster.local, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}{extra}}}"
            ),
        )
    };
    let nameless = service("a", "my-app", "{address: 10.0.0.1}");
    assert_eq!(findings(&nameless), Vec::<String>::new());
    // Whichever namespace the rule is in, some client has it.
    for text in [
        rule("my-app", ""),
        rule("clients", ""),
        rule("istio-system", ""),
        rule("my-app", ", workloadSelector: {matchLabels: {app: x}}"),
    ] {
        let found = findings(&format!("{nameless}{text}"));
        assert_eq!(found.len(), 1, "{text} {found:?}");
        assert!(
            found[0].contains(
                "error[PC0307]: `outbound|80||a.my-app.svc.cluster.local` is reached by mTLS"
            ),
            "{found:?}"
        );
    }
    // The service's own namespace comes before the root namespace.
    let disabled = rule("my-app", "").replace("ISTIO_MUTUAL", "DISABLE");
    let both = format!("{nameless}{}{disabled}", rule("istio-system", ""));
    assert_eq!(
        findings(&both)
            .iter()
            .filter(|line| line.contains("PC0307"))
            .count(),
        1,
        "clients of istio-system have the other rule"
    );
}

#[test]
fn subsets_that_some_clients_do_not_see() {
    let subsets = |namespace: &str, names: &str| {
        document(
            "DestinationRule",
            "r",
            namespace,
            &format!("{{host: a.my-app.svc.cluster.local, subsets: [{names}]}}"),
        )
    };
    let v1 = "{name: v1, labels: {version: v1}}";
    let base = service("a", "my-app", ENDPOINT)
        + &document(
            "VirtualService",
            "v",
            "my-app",
            &route("a.my-app.svc.cluster.local", "v1"),
        );
    assert_eq!(
        findings(&(base.clone() + &subsets("my-app", v1))),
        Vec::<String>::new()
    );
    assert_eq!(
        findings(&(base.clone() + &subsets("istio-system", v1))),
        Vec::<String>::new()
    );
    let elsewhere = findings(&(base.clone() + &subsets("clients", v1)));
    assert_eq!(elsewhere.len(), 1, "{elsewhere:?}");
    assert!(
        elsewhere[0].contains("warning[PC0311]")
            && elsewhere[0]
                .contains("clients of other namespaces follow no DestinationRule for the host"),
        "{elsewhere:?}"
    );
    let overridden = findings(&(base.clone() + &subsets("my-app", v1) + &subsets("clients", "")));
    assert_eq!(overridden.len(), 1, "{overridden:?}");
    assert!(
        overridden[0]
            .contains("clients of namespace `clients` follow DestinationRule clients/r at f:"),
        "{overridden:?}"
    );
    let nowhere = findings(&(base + &subsets("my-app", "{name: v2, labels: {version: v1}}")));
    assert_eq!(nowhere.len(), 1, "{nowhere:?}");
    assert!(
        nowhere[0].contains("error[PC0303]") && nowhere[0].contains("did you mean `v2`?"),
        "{nowhere:?}"
    );
}

#[test]
fn destinations_without_endpoints() {
    let text = service("a", "my-app", ENDPOINT)
        + &document(
            "DestinationRule",
            "r",
            "my-app",
            "{host: a, subsets: [{name: v2, labels: {version: v2}}]}",
        )
        + &document("VirtualService", "v", "my-app", &route("a", "v2"));
    let found = findings(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("f:10:")
            && found[0].contains("warning[PC0310]: no endpoint belongs to `outbound|80|v2|a.my-app.svc.cluster.local`"),
        "{found:?}"
    );
}
