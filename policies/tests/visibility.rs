//! Who sees what: `exportTo`, Sidecar documents and the policy for outbound traffic.
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
use policies::route::{Proxy, RouteAction, RouteTable, Unrouted};
use policies::source::SourceFile;
use support::{mesh, request, workload};

/// A service of a namespace, with further lines of its spec.
fn service(name: &str, namespace: &str, more: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  hosts: [{name}]\n  ports: [{{number: 80, name: http, protocol: HTTP}}]\n  location: MESH_INTERNAL\n  \
         resolution: STATIC\n  endpoints: [{{address: 10.0.0.1, serviceAccount: {name}}}]\n{more}---\n"
    )
}

fn document(kind: &str, name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n{spec}---\n"
    )
}

/// Routes of `order` that answer with their own name.
fn routes(name: &str, namespace: &str, more: &str) -> String {
    let spec = format!(
        "  hosts: [order.shop.svc.cluster.local]\n  http: [{{directResponse: {{status: 200, body: {{string: {name}}}}}}}]\n{more}"
    );
    document("VirtualService", name, namespace, &spec)
}

/// What a workload of a namespace gets for a host: a route's body, a cluster, or why there is none. The findings that
/// are not about advice come first.
fn answers(text: &str, namespace: &str, hosts: &[&str]) -> (Vec<String>, Vec<String>) {
    let loaded = load(&[SourceFile::new("test.yaml", text)], &mesh());
    let (mesh, _) = mesh().effective(&loaded.documents);
    let (registry, found) = check(&loaded.documents, &mesh);
    let found = loaded.diagnostics.into_iter().chain(found);
    let found = found.map(|finding| finding.to_string()).collect();
    let workload = workload("caller", namespace, &[("app", "caller")]);
    let proxy = Proxy::Sidecar {
        workload: &workload,
    };
    let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh, proxy);
    let answer = |host: &&str| match compiled.routes.find(&request(host, "/")) {
        Some(route) => match &route.action {
            RouteAction::DirectResponse(direct) => {
                String::from_utf8_lossy(&direct.body).into_owned()
            }
            RouteAction::Forward(clusters) => {
                let first = clusters.iter().next().unwrap().cluster;
                compiled.clusters.get(first).unwrap().key.to_string()
            }
            RouteAction::Redirect(_) => "redirect".to_owned(),
        },
        None => match compiled.routes.unrouted(host) {
            Unrouted::Refused => "refused".to_owned(),
            Unrouted::Passed => "passed".to_owned(),
            Unrouted::Hidden(hidden) => format!("hidden by line {}", hidden.by.line),
        },
    };
    (found, hosts.iter().map(answer).collect())
}

fn seen(text: &str, namespace: &str, hosts: &[&str]) -> Vec<String> {
    let (found, answers) = answers(text, namespace, hosts);
    let errors: Vec<_> = found
        .iter()
        .filter(|text| text.contains("error["))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    answers
}

#[test]
fn a_service_is_seen_where_it_is_exported() {
    let text = service("order", "shop", "  exportTo: ['.', bank]\n")
        + &service("secret", "shop", "  exportTo: ['~']\n");
    let cluster = "outbound|80||order.shop.svc.cluster.local";
    let hosts = ["order.shop", "secret.shop"];
    assert_eq!(seen(&text, "shop", &hosts), [cluster, "hidden by line 16"]);
    assert_eq!(seen(&text, "bank", &hosts)[0], cluster);
    // Where its host is declared.
    assert_eq!(seen(&text, "other", &hosts)[0], "hidden by line 5");
}

#[test]
fn the_narrowest_routes_win_and_equal_ones_conflict() {
    let text = service("order", "shop", "")
        + &routes("everybody", "shop", "")
        + &routes("bank-itself", "bank", "  exportTo: ['.']\n")
        + &routes("for-bank", "shop", "  exportTo: [bank, trade]\n");
    for (namespace, expected) in [
        ("shop", "everybody"),
        ("other", "everybody"),
        ("trade", "for-bank"),
        ("bank", "bank-itself"),
    ] {
        assert_eq!(
            seen(&text, namespace, &["order.shop"]),
            [expected],
            "{namespace}"
        );
    }
    let twice = text + &routes("again", "other", "  exportTo: [trade, third]\n");
    let (found, _) = answers(&twice, "shop", &[]);
    assert!(
        found
            .iter()
            .any(|text| text.contains("is routed by VirtualService `shop/for-bank` already")),
        "{found:?}"
    );
}

#[test]
fn a_rule_holds_for_those_it_is_exported_to() {
    let rule = |namespace: &str, subset: &str, more: &str| {
        let spec = format!(
            "  host: order.shop.svc.cluster.local\n  subsets: [{{name: {subset}, labels: {{}}}}]\n{more}"
        );
        document("DestinationRule", subset, namespace, &spec)
    };
    let route = document(
        "VirtualService",
        "order",
        "shop",
        "  hosts: [order]\n  http: [{route: [{destination: {host: order, subset: mine}}]}]\n",
    );
    let text = service("order", "shop", "") + &rule("shop", "mine", "  exportTo: ['.']\n") + &route;
    let (found, _) = answers(&text, "shop", &["order"]);
    assert!(
        found
            .iter()
            .any(|text| text.contains("clients of other namespaces follow no DestinationRule")),
        "{found:?}"
    );
}

#[test]
fn routes_that_lead_out_of_sight_are_pointed_out() {
    let text = service("order", "shop", "  exportTo: ['.']\n")
        + &document(
            "VirtualService",
            "front",
            "shop",
            "  hosts: [front.example.com]\n  http: [{route: [{destination: {host: order}}]}]\n",
        );
    let (found, answers) = answers(&text, "bank", &["front.example.com"]);
    assert!(
        found.iter().any(|text| text.contains("PC0317")),
        "{found:?}"
    );
    assert_eq!(answers, ["the route has no destination"]);
}

#[test]
fn a_sidecar_asks_for_what_it_wants_to_see() {
    let services = service("order", "shop", "")
        + &service("stock", "shop", "")
        + &service("ledger", "bank", "");
    let hosts = ["order.shop", "stock.shop", "ledger.bank"];
    let scope = |namespace: &str, spec: &str| document("Sidecar", "default", namespace, spec);
    let all = [
        "outbound|80||order.shop.svc.cluster.local",
        "outbound|80||stock.shop.svc.cluster.local",
        "outbound|80||ledger.bank.svc.cluster.local",
    ];
    assert_eq!(seen(&services, "shop", &hosts), all);
    let own = services.clone() + &scope("shop", "  egress: [{hosts: ['./*']}]\n");
    assert_eq!(seen(&own, "shop", &hosts)[..2], all[..2]);
    assert!(seen(&own, "shop", &hosts)[2].starts_with("hidden by line 3"));
    assert_eq!(seen(&own, "bank", &hosts), all, "another namespace's scope");
    let one = services.clone()
        + &scope(
            "shop",
            "  egress: [{hosts: ['*/ledger.bank.svc.cluster.local', './stock']}]\n",
        );
    assert_eq!(seen(&one, "shop", &hosts)[1..], all[1..]);
    assert!(seen(&one, "shop", &hosts)[0].starts_with("hidden"));
    // The root namespace's holds where a namespace has none, and `.` is the workload's own.
    let root = services.clone() + &scope("istio-system", "  egress: [{hosts: ['./*']}]\n");
    assert_eq!(seen(&root, "bank", &hosts)[2], all[2]);
    assert!(seen(&root, "bank", &hosts)[0].starts_with("hidden"));
    // One with a selector comes before both.
    let chosen = root
        + &document(
            "Sidecar",
            "caller",
            "bank",
            "  workloadSelector: {labels: {app: caller}}\n  egress: [{hosts: ['shop/*']}]\n",
        );
    assert_eq!(seen(&chosen, "bank", &hosts)[..2], all[..2]);
    let nothing = services + &scope("shop", "  egress: [{hosts: ['~/*']}]\n");
    assert!(
        seen(&nothing, "shop", &hosts)
            .iter()
            .all(|answer| answer.starts_with("hidden"))
    );
}

#[test]
fn an_egress_listener_with_a_port_is_for_services_on_it() {
    let services = service("order", "shop", "")
        + &service("stock", "shop", "").replace("number: 80,", "number: 8081,");
    let scope =
        "  egress:\n  - {port: {number: 8081, protocol: HTTP, name: web}, hosts: ['./*']}\n";
    let text = services + &document("Sidecar", "default", "shop", scope);
    let answers = seen(&text, "shop", &["order.shop", "stock.shop:8081"]);
    assert!(answers[0].starts_with("hidden"), "{answers:?}");
    assert_eq!(answers[1], "outbound|8081||stock.shop.svc.cluster.local");
}

#[test]
fn strangers_are_refused_unless_the_policy_lets_them_pass() {
    let services = service("order", "shop", "") + &service("ledger", "bank", "  exportTo: ['.']\n");
    let config = "apiVersion: portcullis.dev/v1\nkind: MeshConfig\nmetadata: {name: mesh}\nspec:\n  \
                  outboundTrafficPolicy: {mode: ALLOW_ANY}\n---\n";
    let hosts = ["api.example.com", "order.shop:9999", "ledger.bank"];
    let mut refused = seen(&services, "shop", &hosts);
    assert!(refused.pop().unwrap().starts_with("hidden"));
    assert_eq!(refused, ["refused", "refused"]);
    let open = services.clone() + config;
    let mut passed = seen(&open, "shop", &hosts);
    // A declared service is no stranger: not on another port, and not where it is not seen.
    assert!(passed.pop().unwrap().starts_with("hidden"));
    assert_eq!(passed, ["passed", "refused"]);
    let policy = |mode: &str| format!("  outboundTrafficPolicy: {{mode: {mode}}}\n");
    let closed = open + &document("Sidecar", "default", "shop", &policy("REGISTRY_ONLY"));
    assert_eq!(seen(&closed, "shop", &hosts)[0], "refused");
    let opened = services + &document("Sidecar", "default", "shop", &policy("ALLOW_ANY"));
    assert_eq!(seen(&opened, "shop", &hosts)[0], "passed");
    assert_eq!(seen(&opened, "bank", &hosts)[0], "refused");
}

#[test]
fn what_a_sidecar_cannot_do_is_said() {
    let text = service("order", "shop", "")
        + &document(
            "Sidecar",
            "default",
            "shop",
            "  ingress: [{port: {number: 9080, protocol: HTTP, name: web}, defaultEndpoint: '127.0.0.1:8080'}]\n  \
             egress: [{hosts: ['./order'], captureMode: IPTABLES}]\n  \
             outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: order}}\n",
        );
    let (found, _) = answers(&text, "shop", &[]);
    for part in [
        "`ingress` of Sidecar",
        "`captureMode` of Sidecar",
        "error[PC0113]: `egressProxy` is not in force",
    ] {
        assert!(
            found.iter().any(|text| text.contains(part)),
            "{part}: {found:#?}"
        );
    }
    let text = service("order", "shop", "")
        + &document(
            "Sidecar",
            "default",
            "shop",
            "  egress: [{hosts: ['./order', './ordre']}]\n",
        );
    let (found, _) = answers(&text, "shop", &[]);
    let unknown = "no service and no route is called `ordre` in the namespace `shop`";
    assert!(
        found.iter().any(|text| text.contains(unknown)),
        "{found:#?}"
    );
}
