//! Where connections go whose bytes nobody looks into: documents in, the clusters of a connection out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod support;

use policies::route::{Compiled, ConnectionView, OpaqueError, OpaqueRules};
use support::{gateway, sidecar, try_gateway};

const SERVICES: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: my-app}
spec:
  hosts: [db]
  ports:
  - {number: 5432, name: sql, protocol: TCP}
  - {number: 5433, name: tls, protocol: TLS}
  - {number: 8080, name: http, protocol: HTTP}
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints:
  - {address: 10.0.0.1, serviceAccount: db, labels: {version: v1}}
  - {address: 10.0.0.2, serviceAccount: db, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: archive, namespace: my-app}
spec:
  hosts: [archive]
  ports: [{number: 5432, name: sql, protocol: TCP}]
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints: [{address: 10.0.0.3, serviceAccount: archive}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db, namespace: my-app}
spec:
  host: db
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
";

fn virtual_service(spec: &str) -> String {
    format!(
        "{SERVICES}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: db, namespace: my-app}}\n\
         spec:\n{spec}"
    )
}

/// The shares of a connection's clusters.
fn shares(compiled: &Compiled, rules: Option<&OpaqueRules>, view: ConnectionView<'_>) -> String {
    let Some(route) = rules.and_then(|rules| rules.find(&view)) else {
        return "no route".to_owned();
    };
    let Some(clusters) = &route.clusters else {
        return "no cluster".to_owned();
    };
    let names: Vec<String> = clusters
        .iter()
        .map(|share| {
            let cluster = compiled.clusters.get(share.cluster).unwrap();
            format!("{}*{}", share.weight, cluster.key)
        })
        .collect();
    names.join(" ")
}

fn from<'a>(source: &str, sni: Option<&'a str>) -> ConnectionView<'a> {
    ConnectionView {
        sni,
        source: source.parse().unwrap(),
        destination: "127.0.0.1".parse().unwrap(),
    }
}

fn on_sidecar(compiled: &Compiled, port: u16, view: ConnectionView<'_>) -> String {
    let rules = compiled.routes.opaque("db.my-app", port).ok();
    shares(compiled, rules, view)
}

#[test]
fn a_port_without_routes_leads_to_its_service() {
    let compiled = sidecar(SERVICES);
    let own = "1*outbound|5432||db.my-app.svc.cluster.local";
    assert_eq!(on_sidecar(&compiled, 5432, from("127.0.0.1", None)), own);
    let rules = compiled.routes.opaque("DB", 5432).unwrap();
    assert!(!rules.look_at_sni());
    assert_eq!(
        compiled.routes.opaque("db", 8080).unwrap_err(),
        OpaqueError::Http
    );
    assert_eq!(
        compiled.routes.opaque("db", 1).unwrap_err(),
        OpaqueError::Unknown
    );
}

#[test]
fn tcp_routes_share_out_by_weight_and_match_in_order() {
    let compiled = sidecar(&virtual_service(
        "  hosts: [db]\n  tcp:\n  \
         - match: [{port: 5432, sourceLabels: {app: somebody-else}}]\n    route: [{destination: {host: archive}}]\n  \
         - match: [{sourceSubnet: 10.0.0.0/8}, {destinationSubnets: [192.168.0.0/16]}]\n    \
           route: [{destination: {host: archive}}]\n  \
         - match: [{port: 5432, sourceLabels: {app: order-service}}]\n    route:\n    \
           - {destination: {host: db, subset: v1, port: {number: 5432}}, weight: 80}\n    \
           - {destination: {host: db, subset: v2, port: {number: 5432}}, weight: 20}\n",
    ));
    let shared = "80*outbound|5432|v1|db.my-app.svc.cluster.local 20*outbound|5432|v2|db.my-app.svc.cluster.local";
    assert_eq!(on_sidecar(&compiled, 5432, from("127.0.0.1", None)), shared);
    let archive = "1*outbound|5432||archive.my-app.svc.cluster.local";
    assert_eq!(on_sidecar(&compiled, 5432, from("10.1.1.1", None)), archive);
    // `tcp` routes are not for ports that speak TLS.
    assert!(on_sidecar(&compiled, 5433, from("10.1.1.1", None)).starts_with("1*outbound|5433||db"));
}

#[test]
fn tls_routes_choose_by_the_server_name() {
    let compiled = sidecar(&virtual_service(
        "  hosts: [db, '*.db.example.com']\n  tls:\n  \
         - match: [{port: 5433, sniHosts: ['*.db.example.com']}]\n    \
           route: [{destination: {host: db, subset: v2, port: {number: 5433}}}]\n",
    ));
    assert!(compiled.routes.opaque("db", 5433).unwrap().look_at_sni());
    let named = from("127.0.0.1", Some("eu.db.example.com"));
    let v2 = "1*outbound|5433|v2|db.my-app.svc.cluster.local";
    assert_eq!(on_sidecar(&compiled, 5433, named), v2);
    // What no rule is for goes to the service itself.
    let other = from("127.0.0.1", Some("elsewhere.example.com"));
    let own = "1*outbound|5433||db.my-app.svc.cluster.local";
    assert_eq!(on_sidecar(&compiled, 5433, other), own);
}

const EDGE: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: my-app}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}
  - port: {number: 443, name: passed, protocol: TLS}
    hosts: ['*.example.com']
    tls: {mode: PASSTHROUGH}
  - port: {number: 443, name: ended, protocol: TLS}
    hosts: [ended.example.org]
    tls: {mode: SIMPLE, credentialName: ended}
---
";

#[test]
fn a_gateway_routes_tcp_and_tls_by_its_servers() {
    let routes = virtual_service(
        "  hosts: ['*.example.com', db.example.com, ended.example.org]\n  gateways: [edge]\n  tls:\n  \
         - match: [{sniHosts: [db.example.com]}]\n    \
           route: [{destination: {host: db, port: {number: 5433}}}]\n  tcp:\n  \
         - match: [{port: 9000}]\n    route: [{destination: {host: archive}}]\n  \
         - route: [{destination: {host: db, port: {number: 5432}}}]\n",
    )
    // Overlapping hosts of one document are refused.
    .replace("'*.example.com', db", "db");
    let compiled = gateway(&format!("{EDGE}{routes}"));
    let at = |port, sni| {
        let rules = compiled.routes.opaque_at(port, sni);
        shares(&compiled, rules, from("127.0.0.1", sni))
    };
    let archive = "1*outbound|5432||archive.my-app.svc.cluster.local";
    assert_eq!(at(9000, None), archive);
    let passed = "1*outbound|5433||db.my-app.svc.cluster.local";
    assert_eq!(at(443, Some("db.example.com")), passed);
    let ended = "1*outbound|5432||db.my-app.svc.cluster.local";
    assert_eq!(at(443, Some("ended.example.org")), ended);
    assert_eq!(at(443, Some("unknown.example.com")), "no route");
    assert_eq!(at(443, None), "no route");
    assert_eq!(at(80, None), "no route");
}

#[test]
fn destinations_have_to_be_opaque_and_ports_are_spoken_in_one_way() {
    let http = virtual_service(
        "  hosts: [db]\n  tcp:\n  - route: [{destination: {host: db, port: {number: 8080}}}]\n",
    );
    let (_, errors) = support::try_sidecar(&http);
    assert!(
        errors[0].contains("speaks HTTP, a `tcp` or `tls` route needs TCP, TLS or HTTPS"),
        "{errors:?}"
    );
    let unchosen =
        virtual_service("  hosts: [archive]\n  tcp:\n  - route: [{destination: {host: db}}]\n");
    let (_, errors) = support::try_sidecar(&unchosen);
    assert_eq!(errors, Vec::<String>::new(), "the listener's port is meant");
    let both = EDGE.replace(
        "protocol: TCP}, hosts: ['*']}",
        "protocol: TCP}, hosts: ['*']}\n  - {port: {number: 9000, name: web, protocol: HTTP}, hosts: ['*']}",
    );
    let (_, errors) = try_gateway(&format!("{both}{SERVICES}"));
    assert!(
        errors
            .iter()
            .any(|error| error.contains("port 9000 cannot speak HTTP here and TCP at")),
        "{errors:?}"
    );
}
