//! Finding a route allocates nothing, whatever the rule looks at.

mod support;

use allocations::counted;
use http::HeaderMap;
use policies::route::RequestView;
use support::{gateway, sidecar, with_headers};

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

const SERVICE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, serviceAccount: shop}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop, '*.example.com']
  gateways: [mesh, edge]
  http:
";

/// Rules of every sort; `filler` more make the list long enough for an index.
fn documents(filler: usize) -> String {
    let mut lines = vec![SERVICE.to_owned()];
    let mut rule = |name: &str, found: &str| {
        lines.push(format!(
            "  - {{name: {name}, match: [{{{found}}}], route: [{{destination: {{host: shop}}}}]}}\n"
        ));
    };
    rule("exact", "uri: {exact: /exact}");
    rule("any-case", "uri: {exact: /Any/Case}, ignoreUriCase: true");
    rule("prefix", "uri: {prefix: /prefix/}");
    rule(
        "any-prefix",
        "uri: {prefix: /Any/Prefix}, ignoreUriCase: true",
    );
    rule(
        "header",
        "uri: {prefix: /h}, headers: {x-a: {exact: b}}, withoutHeaders: {x-c: {}}",
    );
    rule("query", "uri: {prefix: /q}, queryParams: {v: {exact: '2'}}");
    rule("regex", "uri: {regex: '/regex/[0-9]+'}");
    for number in 0..filler {
        rule("filler", &format!("uri: {{prefix: /filler/{number}/}}"));
    }
    rule("default", "uri: {prefix: /}");
    lines.concat()
}

#[test]
fn finding_a_route_allocates_nothing() {
    let mut headers = HeaderMap::new();
    headers.insert("x-a", "b".parse().unwrap());
    for filler in [0, 1_000] {
        let text = documents(filler);
        for (compiled, host) in [
            (gateway(&text), "www.example.com"),
            (gateway(&text), "shop"),
            (sidecar(&text), "shop.my-app.svc.cluster.local:80"),
            (sidecar(&text), "a.example.com"),
        ] {
            for (path, query, expected) in [
                ("/exact", None, "exact"),
                ("/any/CASE", None, "any-case"),
                ("/prefix/x", None, "prefix"),
                ("/any/prefixes", None, "any-prefix"),
                ("/h", None, "header"),
                ("/q", Some("a=1&v=2"), "query"),
                ("/regex/123", None, "regex"),
                ("/other", None, "default"),
            ] {
                let request = RequestView {
                    query,
                    ..with_headers(host, path, &headers)
                };
                // The first time a thread uses a regular expression it makes room for its memory.
                compiled.routes.find(&request);
                let (found, count) = counted(|| compiled.routes.find(&request));
                let name = found.and_then(|route| route.name.as_deref());
                assert_eq!((name, count), (Some(expected), 0), "{host} {path} {filler}");
            }
            let nowhere = with_headers("unknown.org", "/", &headers);
            let (found, count) = counted(|| compiled.routes.find(&nowhere).is_some());
            assert_eq!((found, count), (false, 0), "{host}");
        }
    }
}
