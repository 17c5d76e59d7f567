//! Routing: documents in, the answer for a request out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod support;

use http::{HeaderMap, Version};
use policies::cluster::{EndpointAddress, Protocol, Transport};
use policies::resilience::{Choice, Live, Moment};
use policies::route::{Compiled, HeaderFacts, PathRewrite, RouteAction};
use support::{gateway, request, seeds_002, sidecar, try_gateway, try_sidecar, with_headers};

const FACTS: HeaderFacts<'static> = HeaderFacts {
    method: "GET",
    target: "/",
    host: "shop.example.com",
    scheme: "http",
    version: Version::HTTP_11,
    remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
};

/// Where a request goes: cluster names, or what is answered.
fn answer(compiled: &Compiled, host: &str, path: &str, headers: &HeaderMap) -> String {
    let asked = with_headers(host, path, headers);
    let found = compiled.routes.find(&asked);
    support::explains(compiled, &asked);
    let Some(route) = found else {
        return "404".to_owned();
    };
    match &route.action {
        RouteAction::Forward(clusters) => {
            let names: Vec<String> = clusters
                .iter()
                .map(|weighted| {
                    format!(
                        "{}*{}",
                        weighted.weight,
                        compiled.clusters.get(weighted.cluster).unwrap().key
                    )
                })
                .collect();
            names.join(" ")
        }
        RouteAction::Redirect(redirect) => {
            format!(
                "{} {}",
                redirect.status.as_u16(),
                redirect.location(&request(host, path))
            )
        }
        RouteAction::DirectResponse(response) => {
            format!(
                "{} {}",
                response.status.as_u16(),
                String::from_utf8_lossy(&response.body)
            )
        }
    }
}

fn plain(compiled: &Compiled, host: &str, path: &str) -> String {
    answer(compiled, host, path, &HeaderMap::new())
}

#[test]
fn the_seeds_canary() {
    let compiled = sidecar(&seeds_002());
    let mut canary = HeaderMap::new();
    canary.insert("x-canary", "true".parse().unwrap());
    let host = "product-service.my-app.svc.cluster.local";
    assert_eq!(
        answer(&compiled, "product-service", "/api/products", &canary),
        format!("1*outbound|8080|v2|{host}")
    );
    let split = format!("90*outbound|8080|v1|{host} 10*outbound|8080|v2|{host}");
    for name in [
        "product-service",
        "product-service:8080",
        "product-service.my-app",
        host,
    ] {
        assert_eq!(plain(&compiled, name, "/"), split, "{name}");
    }
    assert_eq!(plain(&compiled, "product-service:9999", "/"), "404");
    assert_eq!(plain(&compiled, "other", "/"), "404");
}

#[test]
fn the_seeds_cluster() {
    let compiled = sidecar(&seeds_002());
    for (_, cluster) in compiled.clusters.iter() {
        assert_eq!(cluster.transport, Transport::Mesh);
        assert_eq!(cluster.protocol, Protocol::Http2, "h2UpgradePolicy");
        let [endpoint] = &*cluster.endpoints else {
            panic!("one endpoint per subset")
        };
        assert_eq!(
            endpoint.expected.as_deref(),
            Some("spiffe://cluster.local/ns/my-app/sa/product-service")
        );
        let EndpointAddress::Socket(address) = &endpoint.address else {
            panic!("an address")
        };
        let (subset, port) = (cluster.key.subset.as_deref().unwrap(), address.port());
        assert!(
            matches!((subset, port), ("v1", 18081) | ("v2", 18082)),
            "{subset} {port}"
        );
        assert_eq!(
            &*endpoint.workload.name,
            format!("product-service-{subset}")
        );
        assert_eq!(
            Live::new(cluster, None, Moment::START).pick(&Choice::default(), Moment::START, 0),
            Some(0)
        );
    }
    assert_eq!(compiled.clusters.len(), 2);
}

#[test]
fn weights_over_ten_thousand_requests() {
    let compiled = sidecar(&seeds_002());
    let route = compiled
        .routes
        .find(&request("product-service", "/"))
        .unwrap();
    let RouteAction::Forward(clusters) = &route.action else {
        panic!("forwarded")
    };
    let mut second = 0;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..10_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if clusters.pick(random ^ (random >> 29)).position() != clusters.pick(0).position() {
            second += 1;
        }
    }
    assert!((900..=1100).contains(&second), "{second}");
    // Evenly spaced numbers give exact shares.
    let step = u64::MAX / 100;
    let exact = (0..100)
        .filter(|turn| clusters.pick(turn * step + step / 2) != clusters.pick(0))
        .count();
    assert_eq!(exact, 10);
    assert_eq!(route.timeout, Some(std::time::Duration::from_secs(10)));
    assert_eq!(&*route.virtual_service, "my-app/product-service");
}

const SHOP: &str = r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: my-app}
spec:
  hosts: [shop]
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 9090, name: grpc, protocol: GRPC}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 8081, grpc: 8082}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
    - port: {number: 443, name: https, protocol: HTTPS}
      hosts: ["shop.example.com"]
      tls: {mode: SIMPLE, credentialName: shop-cert}
"#;

fn shop(http: &str) -> String {
    format!(
        "{SHOP}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: shop, namespace: my-app}}\n\
         spec:\n  hosts: [shop.example.com, \"*.shop.example.com\"]\n  gateways: [istio-system/edge]\n  http:\n{http}"
    )
}

#[test]
fn matches_and_actions_on_a_gateway() {
    let compiled = gateway(&shop(
        r#"
    - match: [{uri: {exact: /old}}]
      redirect: {uri: /new, redirectCode: 308}
    - match: [{uri: {prefix: /health}, method: {exact: GET}}]
      directResponse: {status: 200, body: {string: fine}}
    - match: [{uri: {regex: "/item/[0-9]+"}}]
      route: [{destination: {host: shop, port: {number: 9090}}}]
    - match: [{uri: {prefix: /CASE}, ignoreUriCase: true}, {queryParams: {debug: {}}}]
      directResponse: {status: 299}
    - match: [{withoutHeaders: {x-known: {}}, uri: {prefix: /strangers}}]
      directResponse: {status: 298}
    - route: [{destination: {host: shop, port: {number: 80}}}]
"#,
    ));
    let host = "shop.example.com";
    assert_eq!(
        plain(&compiled, host, "/old"),
        "308 http://shop.example.com/new"
    );
    assert_eq!(plain(&compiled, host, "/healthz"), "200 fine");
    let service = "shop.my-app.svc.cluster.local";
    assert_eq!(
        plain(&compiled, host, "/item/42"),
        format!("1*outbound|9090||{service}")
    );
    assert_eq!(
        plain(&compiled, host, "/item/42x"),
        format!("1*outbound|80||{service}")
    );
    assert_eq!(plain(&compiled, host, "/case/x"), "299 ");
    let mut with_query = request(host, "/x");
    with_query.query = Some("a=1&debug");
    assert!(matches!(
        compiled.routes.find(&with_query).unwrap().action,
        RouteAction::DirectResponse(_)
    ));
    assert_eq!(plain(&compiled, host, "/strangers"), "298 ");
    let mut known = HeaderMap::new();
    known.insert("x-known", "1".parse().unwrap());
    assert_eq!(
        answer(&compiled, host, "/strangers", &known),
        format!("1*outbound|80||{service}")
    );
    assert_eq!(
        plain(&compiled, "a.shop.example.com:8090", "/old"),
        "308 http://a.shop.example.com:8090/new"
    );
    assert_eq!(plain(&compiled, "example.com", "/old"), "404");
    let mut other_port = request(host, "/old");
    other_port.port = 8888;
    assert!(compiled.routes.find(&other_port).is_none());
    let mut https = request("a.shop.example.com", "/old");
    https.port = 443;
    assert!(
        compiled.routes.find(&https).is_none(),
        "the HTTPS server has the bare host only"
    );
}

#[test]
fn destination_port_is_the_listeners() {
    let compiled = gateway(&shop("    - route: [{destination: {host: shop}}]\n").replace(
        "    - port: {number: 443, name: https, protocol: HTTPS}\n      hosts: [\"shop.example.com\"]\n      tls: {mode: SIMPLE, credentialName: shop-cert}\n",
        "",
    ));
    assert_eq!(
        plain(&compiled, "shop.example.com", "/"),
        "1*outbound|80||shop.my-app.svc.cluster.local"
    );
    let (_, lines) = try_gateway(&shop("    - route: [{destination: {host: shop}}]\n"));
    assert_eq!(
        lines,
        [
            "test.yaml:29:36: error[PC0305]: `shop.my-app.svc.cluster.local` has several ports, and none is chosen \
          (help: add `port: {number: …}` with one of 80, 9090)"
        ]
    );
}

#[test]
fn rewrites_follow_their_match() {
    let compiled = gateway(&shop(
        r#"
    - match: [{uri: {prefix: /a/}}, {uri: {exact: /b}}]
      rewrite: {uri: /x/, authority: inner}
      route: [{destination: {host: shop, port: {number: 80}}}]
    - match: [{uri: {prefix: /r/}}]
      rewrite: {uriRegexRewrite: {match: "^/r/([^/]+)/(.*)$", rewrite: "/\\2/$\\1"}}
      route: [{destination: {host: shop, port: {number: 80}}}]
    - rewrite: {uri: /all/}
      route: [{destination: {host: shop, port: {number: 80}}}]
"#,
    ));
    let rewritten = |path: &str| {
        let rewrite = compiled
            .routes
            .find(&request("shop.example.com", path))
            .unwrap()
            .rewrite
            .as_ref()
            .unwrap();
        rewrite
            .path
            .as_ref()
            .map(|rewrite: &PathRewrite| rewrite.apply(path))
            .unwrap()
    };
    assert_eq!(rewritten("/a/1"), "/x/1");
    assert_eq!(rewritten("/b"), "/x/");
    assert_eq!(rewritten("/r/one/two/three"), "/two/three/$one");
    assert_eq!(rewritten("/else"), "/all/else");
}

#[test]
fn header_changes() {
    let compiled = gateway(&shop(
        r#"
    - headers: {request: {set: {x-a: "50%%", Host: inner}, add: {x-b: "2"}, remove: [x-c]}}
      route:
        - destination: {host: shop, port: {number: 80}}
          headers: {response: {set: {x-d: "4"}}}
"#,
    ));
    let route = compiled
        .routes
        .find(&request("shop.example.com", "/"))
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-b", "1".parse().unwrap());
    headers.insert("x-c", "3".parse().unwrap());
    route.request_headers.apply_to_request(&mut headers, &FACTS);
    assert_eq!(headers.get("x-a").unwrap(), "50%");
    assert_eq!(headers.get_all("x-b").iter().count(), 2);
    assert!(!headers.contains_key("x-c"));
    assert_eq!(route.request_headers.authority.as_ref().unwrap(), "inner");
    let RouteAction::Forward(clusters) = &route.action else {
        panic!("forwarded")
    };
    assert_eq!(clusters.choose(7).unwrap().response_headers.set.len(), 1);
}

#[test]
fn https_redirect_and_several_documents_for_a_host() {
    let second = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: more, namespace: my-app}\n\
        spec:\n  hosts: [shop.example.com]\n  gateways: [istio-system/edge]\n  http:\n    - match: [{uri: {prefix: /more}}]\n\
        \x20     directResponse: {status: 201}\n";
    let first = shop("    - directResponse: {status: 200}\n");
    let both = gateway(&format!("{first}{second}"));
    assert_eq!(
        plain(&both, "shop.example.com", "/more"),
        "201 ",
        "a catch-all comes last"
    );
    assert_eq!(plain(&both, "shop.example.com", "/x"), "200 ");
    let redirecting = first.replace(
        "protocol: HTTP}, hosts: [\"*\"]}",
        "protocol: HTTP}, hosts: [\"*\"], tls: {httpsRedirect: true}}",
    );
    let compiled = gateway(&redirecting);
    assert_eq!(
        plain(&compiled, "shop.example.com:8090", "/a"),
        "301 https://shop.example.com/a"
    );
    let mut https = request("shop.example.com", "/a");
    https.port = 443;
    assert!(matches!(
        compiled.routes.find(&https).unwrap().action,
        RouteAction::DirectResponse(_)
    ));
}

#[test]
fn references_that_lead_nowhere() {
    let broken = shop("    - route: [{destination: {host: shoop, port: {number: 80}}}]\n")
        .replace("istio-system/edge", "istio-system/edg");
    let (_, lines) = try_gateway(&broken);
    assert_eq!(
        lines,
        [
            "test.yaml:27:14: error[PC0304]: no document declares the gateway `istio-system/edg` (help: did you mean `istio-system/edge`?)",
            "test.yaml:29:36: error[PC0301]: no document declares the host `shoop` (help: did you mean `shop`?)",
        ]
    );
    let (_, lines) = try_gateway(&shop(
        "    - route: [{destination: {host: shop, port: {number: 81}, subset: v1}}]\n",
    ));
    assert_eq!(
        lines,
        [
            "test.yaml:29:57: error[PC0305]: `shop.my-app.svc.cluster.local` has no port 81 (help: it has 80, 9090)",
            "test.yaml:29:70: error[PC0303]: no DestinationRule defines the subset `v1` of `shop.my-app.svc.cluster.local` (help: define it in a DestinationRule for the host)",
        ]
    );
}

#[test]
fn short_names_and_candidates() {
    let two = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: NAME, namespace: NS}\nspec: {hosts: [db], \
               ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 127.0.0.1}]}\n---\n";
    let declared = format!(
        "{}{}",
        two.replace("NAME", "a").replace("NS", "one"),
        two.replace("NAME", "b").replace("NS", "two")
    );
    let asking = |namespace: &str| {
        format!(
            "{declared}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: v, namespace: {namespace}}}\n\
             spec: {{hosts: [front], http: [{{route: [{{destination: {{host: db}}}}]}}]}}\n"
        )
    };
    let compiled = sidecar(&asking("one"));
    assert_eq!(
        plain(&compiled, "front", "/"),
        "1*outbound|80||db.one.svc.cluster.local"
    );
    let (_, lines) = try_sidecar(&asking("three"));
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].contains("PC0302")
            && lines[0].contains("db.one.svc.cluster.local, db.two.svc.cluster.local"),
        "{lines:?}"
    );
}

#[test]
fn transport_by_rule_and_by_account() {
    let service = |endpoints: &str, tls: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s, namespace: my-app}}\nspec: {{hosts: [s], \
             ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, endpoints: [{endpoints}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: s, namespace: my-app}}\n\
             spec: {{host: s{tls}}}\n"
        )
    };
    let with = "{address: 127.0.0.1, serviceAccount: s}";
    let without = "{address: 127.0.0.2}";
    let transport = |text: &str| {
        let compiled = sidecar(text);
        let (_, cluster) = compiled.clusters.iter().next().unwrap();
        let expected = cluster
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.expected.is_some())
            .count();
        (cluster.transport, expected)
    };
    assert_eq!(transport(&service(with, "")), (Transport::Mesh, 1));
    assert_eq!(transport(&service(without, "")), (Transport::Plaintext, 0));
    assert_eq!(
        transport(&service(with, ", trafficPolicy: {tls: {mode: DISABLE}}")),
        (Transport::Plaintext, 0)
    );
    for (endpoints, tls) in [
        (without, ", trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}"),
        (&*format!("{with}, {without}"), ""),
    ] {
        let (_, lines) = try_sidecar(&service(endpoints, tls));
        assert!(
            lines.iter().any(|line| line.contains("error[PC0307]")),
            "{lines:?}"
        );
    }
}

#[test]
fn callers_and_gateways_in_matches() {
    let text = format!(
        "{SHOP}---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: shop, namespace: my-app}}\n\
         spec:\n  hosts: [shop]\n  gateways: [mesh, istio-system/edge]\n  http:\n\
         \x20   - match: [{{gateways: [istio-system/edge]}}]\n      directResponse: {{status: 201}}\n\
         \x20   - match: [{{sourceLabels: {{app: order-service}}}}]\n      directResponse: {{status: 202}}\n\
         \x20   - match: [{{sourceLabels: {{app: stranger}}}}]\n      directResponse: {{status: 203}}\n\
         \x20   - directResponse: {{status: 204}}\n"
    );
    assert_eq!(plain(&gateway(&text), "shop", "/"), "201 ");
    assert_eq!(plain(&sidecar(&text), "shop", "/"), "202 ");
}

#[test]
fn seed_004_with_the_services_it_names() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let text = [
        "services/004.yaml",
        "seeds/004-retry-timeout.yaml",
        "seeds/004-circuit-breaker.yaml",
    ]
    .map(|name| std::fs::read_to_string(root.join(name)).unwrap())
    .join("---\n");
    let compiled = sidecar(&text);
    let host = "order-service.platform-core.svc.cluster.local";
    assert_eq!(
        plain(&compiled, "order-service", "/api/orders"),
        format!("1*outbound|8084||{host}")
    );
}

#[test]
fn an_explanation_says_what_kept_each_rule_from_matching() {
    let compiled = sidecar(&seeds_002());
    let mut headers = HeaderMap::new();
    headers.insert("x-canary", "no".parse().unwrap());
    let request = with_headers("product-service", "/api/products", &headers);
    let explanation = compiled.routes.explain(&request);
    assert!(explanation.host_is_known && explanation.behind.is_empty());
    let told: Vec<String> = explanation
        .steps
        .iter()
        .flat_map(|step| &step.mismatches)
        .map(|found| format!("{} {} {:?}", found.field, found.wanted, found.found))
        .collect();
    assert_eq!(
        told[0], "headers[x-canary] exact \"true\" Some(\"no\")",
        "{told:?}"
    );
    assert!(explanation.route().is_some());
    let other = compiled
        .routes
        .explain(&with_headers("nobody", "/", &headers));
    assert!(!other.host_is_known && other.steps.is_empty() && other.route().is_none());
}

#[test]
fn a_table_lists_its_hosts_with_conditions_and_without_secrets() {
    let compiled = gateway(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: my-app}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.com', a.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: my-app}
spec:
  hosts: ['*.example.com']
  gateways: [g]
  http:
    - match:
        - uri: {regex: '/x.*'}
          headers: {authorization: {prefix: 'Bearer s3cr3t'}, x-a: {exact: b}}
          withoutHeaders: {x-b: {}}
          queryParams: {q: {exact: '1'}}
      headers: {request: {set: {x-token: s3cr3t, x-c: d}}}
      directResponse: {status: 200}
    - directResponse: {status: 404}
",
    );
    let listed = compiled.routes.hosts();
    let hosts: Vec<String> = listed
        .iter()
        .flat_map(|list| {
            list.hosts
                .iter()
                .map(|host| format!("{:?} {host}", list.port))
        })
        .collect();
    assert_eq!(
        hosts,
        ["Number(80) a.example.com", "Number(80) *.example.com"]
    );
    let routes: Vec<_> = listed[0].routes().collect();
    let conditions = routes[0].conditions();
    assert_eq!(
        conditions,
        serde_json::json!({
            "uri": {"regex": "/x.*"},
            "headers": {"authorization": "<redacted>", "x-a": {"exact": "b"}},
            "withoutHeaders": {"x-b": {"present": true}},
            "queryParams": {"q": {"exact": "1"}},
        })
    );
    let changes = routes[0].route.request_headers.described();
    assert_eq!(
        changes["set"],
        serde_json::json!({"x-token": "<redacted>", "x-c": "d"})
    );
    assert_eq!(routes[1].conditions(), serde_json::json!({}));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Basic 0ther".parse().unwrap());
    let explanation = format!(
        "{:?}",
        compiled
            .routes
            .explain(&with_headers("a.example.com", "/x", &headers))
            .steps[0]
            .mismatches
    );
    assert!(
        !explanation.contains("s3cr3t") && !explanation.contains("0ther"),
        "{explanation}"
    );
}
