//! Document sets of any size, for benches and for whoever wants to try them: the same number gives the same text.
//!
//! `cargo bench -p authz --bench budget -- --write DIRECTORY` writes the files of a set.
//!
//! A set of `n` has `n` VirtualServices and `n` AuthorizationPolicies of about one KiB each, one file per document, and
//! what they refer to: a ServiceEntry with two endpoints and a DestinationRule with two subsets for every ten of them,
//! and one Gateway.
#![allow(dead_code, reason = "every bench uses its own part")]

/// How many namespaces the documents are spread over.
const NAMESPACES: usize = 100;

/// A file: its name and its text.
pub(crate) type File = (String, String);

/// Every file of a set.
pub(crate) fn set(n: usize) -> Vec<File> {
    let mut files = vec![("gateway.yaml".to_owned(), gateway())];
    let services = services(n);
    for service in 0..services {
        files.push((format!("service-{service:05}.yaml"), service_entry(service)));
    }
    for number in 0..n {
        files.push((
            format!("virtual-service-{number:05}.yaml"),
            virtual_service(number, services),
        ));
        files.push((
            format!("authorization-policy-{number:05}.yaml"),
            authorization_policy(number, services),
        ));
    }
    files
}

/// How many services a set of `n` declares.
pub(crate) fn services(n: usize) -> usize {
    (n / 10).max(1)
}

/// The namespace of everything about one service.
pub(crate) fn namespace(service: usize) -> String {
    format!("team-{:02}", service % NAMESPACES)
}

/// The Gateway that every VirtualService names.
pub(crate) fn gateway() -> String {
    "apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: public
  namespace: istio-system
spec:
  selector:
    istio: ingressgateway
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [\"*\"]
"
    .to_owned()
}

/// A service with two versions.
pub(crate) fn service_entry(service: usize) -> String {
    let namespace = namespace(service);
    let (high, low) = (service / 250, service % 250);
    format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: service-{service}, namespace: {namespace}}}
spec:
  hosts: [service-{service}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{number: 8080, name: http, protocol: HTTP}}
  endpoints:
  - {{address: 10.1.{high}.{low}, labels: {{app: service-{service}, version: v1}}, serviceAccount: service-{service}}}
  - {{address: 10.2.{high}.{low}, labels: {{app: service-{service}, version: v2}}, serviceAccount: service-{service}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: service-{service}, namespace: {namespace}}}
spec:
  host: service-{service}
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
"
    )
}

/// A VirtualService of about one KiB: a host of its own, a canary, a rewrite, a redirect and a default.
pub(crate) fn virtual_service(number: usize, services: usize) -> String {
    let service = number % services;
    let namespace = namespace(service);
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: app-{number}
  namespace: {namespace}
  labels:
    team: {namespace}
spec:
  hosts:
  - app-{number}.example.com
  gateways:
  - istio-system/public
  - mesh
  http:
  - name: canary
    match:
    - uri:
        prefix: /app-{number}/api/
      headers:
        x-canary:
          exact: \"true\"
    route:
    - destination:
        host: service-{service}
        subset: v2
        port:
          number: 8080
    timeout: 5s
  - name: rewritten
    match:
    - uri:
        prefix: /app-{number}/old/
      method:
        exact: GET
    rewrite:
      uri: /app-{number}/new/
    route:
    - destination:
        host: service-{service}
        subset: v1
      weight: 90
    - destination:
        host: service-{service}
        subset: v2
      weight: 10
    timeout: 2.5s
  - name: moved
    match:
    - uri:
        exact: /app-{number}/home
    redirect:
      uri: /app-{number}/
      redirectCode: 308
  - name: default
    route:
    - destination:
        host: service-{service}
    timeout: 15s
"
    )
}

/// An AuthorizationPolicy of about one KiB: callers, methods and paths, a header, and a second rule for health checks.
pub(crate) fn authorization_policy(number: usize, services: usize) -> String {
    let service = number % services;
    let namespace = namespace(service);
    let caller = (number + 1) % services;
    let caller_namespace = self::namespace(caller);
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: allow-app-{number}
  namespace: {namespace}
  labels:
    team: {namespace}
spec:
  selector:
    matchLabels:
      app: service-{service}
  action: ALLOW
  rules:
  - from:
    - source:
        principals:
        - cluster.local/ns/{caller_namespace}/sa/service-{caller}
        - cluster.local/ns/istio-system/sa/istio-ingressgateway
    to:
    - operation:
        methods: [\"GET\", \"HEAD\"]
        paths:
        - /app-{number}/api/*
        - /app-{number}/public/*
    - operation:
        methods: [\"POST\"]
        paths:
        - /app-{number}/api/orders
        - /app-{number}/api/orders/{{*}}/items
    when:
    - key: request.headers[x-tenant]
      values:
      - tenant-{number}
      - tenant-shared
  - from:
    - source:
        namespaces:
        - monitoring
    to:
    - operation:
        methods: [\"GET\"]
        paths:
        - /healthz
        - /readyz
        - /metrics
    when:
    - key: source.ip
      notValues:
      - 203.0.113.0/24
"
    )
}

/// One VirtualService with `routes` rules for one host: exact paths, prefixes and conditions in turn, then a default.
pub(crate) fn long_virtual_service(host: &str, routes: usize) -> String {
    let mut lines = vec![format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {host}, namespace: team-00}}
spec:
  hosts: [{host}]
  gateways: [istio-system/public]
  http:"
    )];
    for route in 0..routes.saturating_sub(1) {
        let found = match route % 4 {
            0 => format!("uri: {{exact: /r{route}/item}}"),
            1 => format!("uri: {{prefix: /r{route}/}}, method: {{exact: GET}}"),
            2 => format!("uri: {{prefix: /r{route}/}}, headers: {{x-canary: {{exact: \"true\"}}}}"),
            _ => format!("uri: {{prefix: /r{route}/}}"),
        };
        lines.push(format!(
            "  - {{match: [{{{found}}}], timeout: 5s, route: [{{destination: {{host: service-0}}}}]}}"
        ));
    }
    lines.push("  - {timeout: 5s, route: [{destination: {host: service-0}}]}\n".to_owned());
    lines.join("\n")
}
