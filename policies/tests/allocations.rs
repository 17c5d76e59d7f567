//! What stands on the way of every request allocates nothing: finding its route, and everything that the resilience engine does
//! for it.

mod support;

use std::sync::Arc;

use allocations::counted;
use http::{HeaderMap, HeaderName, HeaderValue};
use policies::resilience::{Choice, Live, Moment, TryOutcome};
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

#[test]
fn a_request_through_the_engine_allocates_nothing() {
    let now = Moment::from_nanos(1_000_000_000);
    for balancer in [
        "simple: ROUND_ROBIN, warmup: {duration: 10s}",
        "simple: LEAST_REQUEST, localityLbSetting: {failoverPriority: [version=v1]}",
        "simple: RANDOM",
        "consistentHash: {httpHeaderName: x-user}",
        "consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 251}}",
    ] {
        let text = format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop}}
spec:
  hosts: [shop.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 10.0.0.1, labels: {{version: v1}}}}, {{address: 10.0.0.2}}, {{address: 10.0.0.3}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: shop.example.com
  trafficPolicy:
    loadBalancer: {{{balancer}}}
    connectionPool: {{http: {{http2MaxRequests: 2}}}}
    outlierDetection: {{consecutive5xxErrors: 1000000}}
"
        );
        let compiled = sidecar(&text);
        let (_, cluster) = compiled.clusters.iter().next().unwrap();
        let live = Arc::new(Live::new(cluster, None, now));
        for number in 0..100_u64 {
            let ((), count) = counted(|| {
                let admission = live.admit();
                let hash = Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let mut tried = [0; 1];
                let first = live.pick(&Choice { tried: &[], hash }, now, number);
                tried[0] = first.unwrap_or_default();
                let error = TryOutcome::ConnectFailure;
                live.begin(tried[0], now).report(error, now);
                let again = live.pick(
                    &Choice {
                        tried: &tried,
                        hash,
                    },
                    now,
                    number,
                );
                let answered = TryOutcome::Answered {
                    status: 200,
                    grpc: None,
                };
                let again = live.begin(again.unwrap_or_default(), now);
                again.report(answered, now);
                drop(admission);
            });
            assert_eq!(count, 0, "{balancer}: request {number}");
        }
    }
}

#[test]
fn counting_a_request_allocates_nothing() {
    use policies::load::load;
    use policies::mesh::Mesh;
    use policies::rate_limit::{Buckets, Checked, LimitFacts, RateLimits};
    use policies::source::SourceFile;
    use policies::workload::Workload;

    const LIMITS: &str = "apiVersion: portcullis.dev/v1
kind: RateLimit
metadata: {name: limits, namespace: my-app}
spec:
  local:
    limits:
    - {requests: 1000, unit: DAY}
    - {requests: 1000, unit: DAY, match: {path: {regex: '/a.*'}, headers: {x-a: {exact: b}}}}
    - requests: 1000
      unit: DAY
      by: [{header: {name: x-a}}, {remoteAddress: {prefixLength6: 64}}, {principal: {}}, {method: {}}, {host: {}}, {path: {templates: ['/a/{id}']}}]
";
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("a.yaml", LIMITS)], &mesh);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let workload = Workload {
        name: "a".to_owned(),
        namespace: "my-app".to_owned(),
        service_account: "a".to_owned(),
        labels: std::collections::BTreeMap::new(),
    };
    let limits = RateLimits::compile(&loaded.documents, &workload, &mesh, None);
    let local = limits.all().next().unwrap().local.as_ref().unwrap();
    let buckets = Buckets::new(64, std::hash::RandomState::new());
    let headers = HeaderMap::from_iter([(
        HeaderName::from_static("x-a"),
        HeaderValue::from_static("b"),
    )]);
    let facts = LimitFacts {
        request: RequestView {
            host: "shop.example:8080",
            port: 8080,
            path: "/a/1",
            query: None,
            method: "GET",
            scheme: "http",
            headers: &headers,
            claims: None,
        },
        route: None,
        principal: Some("cluster.local/ns/my-app/sa/web"),
        client: "2001:db8::1".parse().unwrap(),
        connection: ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap()),
    };
    for number in 0..100 {
        let check = || local.check(&facts, &buckets, Moment::START, number);
        let (checked, count) = counted(check);
        assert!(matches!(checked, Checked::Within(..)), "{checked:?}");
        // The first use of a regular expression makes its scratch space.
        assert!(count == 0 || number == 0, "{count} allocations");
    }
}
