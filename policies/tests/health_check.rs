//! HealthCheck: how it is read, what is refused, and which clusters it stands on.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod support;

use std::time::Duration;

use policies::document::health_check::{HealthProbe, StatusRange};
use policies::load::{Loaded, load};
use policies::route::Compiled;
use policies::source::SourceFile;
use support::{mesh, sidecar, try_sidecar};

fn health_check(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: portcullis.dev/v1\nkind: HealthCheck\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn read(spec: &str) -> Loaded {
    let text = health_check("x", "my-app", spec);
    load(&[SourceFile::new("a.yaml", text)], &mesh())
}

/// A service with an HTTP port 80 and a TCP port 90, with the subset `v1`, and a route to everything.
fn shop(namespace: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: {namespace}}}
spec:
  hosts: [shop.{namespace}.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 90, name: tcp, protocol: TCP}}]
  endpoints: [{{address: 10.0.0.1, labels: {{version: v1}}}}]
"
    )
}

/// What is asked of the shop's endpoints at each port, seen from `my-app`.
fn probes(compiled: &Compiled) -> Vec<String> {
    let mut probes: Vec<String> = compiled
        .clusters
        .iter()
        .map(|(_, cluster)| {
            let settings = cluster.health_check.as_ref();
            let probe = settings.map_or_else(|| "-".to_owned(), |s| s.probe.to_string());
            format!("{} {probe}", cluster.key.port)
        })
        .collect();
    probes.sort();
    probes.dedup();
    probes
}

fn errors(text: &str) -> Vec<String> {
    try_sidecar(text).1
}

#[test]
fn a_whole_document() {
    let loaded = read(
        "{host: shop, port: 80, interval: 5s, timeout: 500ms, healthyThreshold: 1, unhealthyThreshold: 4, \
         http: {path: '/healthz?deep=1', expectedStatuses: [200, 204-299], host: 'shop.example.com:8080', headers: {X-Probe: 'yes'}}}",
    );
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(lines, Vec::<String>::new());
    let check = &loaded.documents.health_checks[0];
    assert_eq!(check.host.value, "shop");
    assert_eq!(check.port.as_ref().map(|port| port.value), Some(80));
    let settings = &check.settings;
    assert_eq!(settings.interval, Duration::from_secs(5));
    assert_eq!(settings.timeout, Duration::from_millis(500));
    let thresholds = (settings.healthy_threshold, settings.unhealthy_threshold);
    assert_eq!(thresholds, (1, 4));
    let HealthProbe::Http(http) = &settings.probe else {
        panic!("{:?}", settings.probe);
    };
    assert_eq!(http.path, "/healthz?deep=1");
    assert_eq!(http.host.as_deref(), Some("shop.example.com:8080"));
    assert_eq!(http.headers, [("x-probe".to_owned(), "yes".to_owned())]);
    let [one, range] = http.expected_statuses[..] else {
        panic!("{:?}", http.expected_statuses);
    };
    let alone = StatusRange {
        first: 200,
        last: 200,
    };
    assert_eq!((one, range.to_string()), (alone, "204-299".to_owned()));
    for (status, expected) in [(200, true), (203, false), (204, true), (300, false)] {
        assert_eq!(http.expects(status), expected, "{status}");
    }
}

#[test]
fn what_is_not_written() {
    let loaded = read("{host: shop, http: {path: /healthz}}");
    let check = &loaded.documents.health_checks[0];
    assert!(check.port.is_none());
    let settings = &check.settings;
    let times = (settings.interval.as_secs(), settings.timeout.as_secs());
    assert_eq!(times, (10, 2));
    let thresholds = (settings.healthy_threshold, settings.unhealthy_threshold);
    assert_eq!(thresholds, (2, 3));
    let HealthProbe::Http(http) = &settings.probe else {
        panic!("{:?}", settings.probe);
    };
    assert!(http.expects(200) && !http.expects(204));
    for (spec, probe) in [
        ("{host: shop, tcp: {}}", "tcp"),
        ("{host: shop, grpc: {}}", "grpc"),
        ("{host: shop, grpc: {service: a.B}}", "grpc a.B"),
    ] {
        let loaded = read(spec);
        let check = &loaded.documents.health_checks[0];
        assert_eq!(check.settings.probe.to_string(), probe);
    }
}

#[test]
fn wrong_documents() {
    for (spec, expected) in [
        ("{tcp: {}}", "`spec.host` is missing"),
        (
            "{host: a}",
            "expected at least one of `http`, `grpc`, `tcp`",
        ),
        ("{host: a, tcp: {}, grpc: {}}", "exclude each other"),
        ("{host: a, tcp: {port: 80}}", "unknown field `port`"),
        ("{host: a, http: {}}", "`spec.http.path` is missing"),
        (
            "{host: a, http: {path: healthz}}",
            "a path that starts with `/`",
        ),
        (
            "{host: a, http: {path: '/a b'}}",
            "a path that starts with `/`",
        ),
        (
            "{host: a, http: {path: '/a#b'}}",
            "a path that starts with `/`",
        ),
        (
            "{host: a, http: {path: /, expectedStatuses: []}}",
            "is empty",
        ),
        (
            "{host: a, http: {path: /, expectedStatuses: [2xx]}}",
            "is not a status such as `200`",
        ),
        (
            "{host: a, http: {path: /, expectedStatuses: [299-200]}}",
            "is not a status such as `200`",
        ),
        (
            "{host: a, http: {path: /, expectedStatuses: [99]}}",
            "is not a status such as `200`",
        ),
        (
            "{host: a, http: {path: /, headers: {Host: b}}}",
            "write `http.host`",
        ),
        (
            "{host: a, http: {path: /, headers: {'a b': c}}}",
            "is not the name of a header",
        ),
        (
            "{host: a, http: {path: /, host: 'a/b'}}",
            "is not a host, with or without port",
        ),
        ("{host: a, tcp: {}, interval: 10ms}", "at least 100ms"),
        (
            "{host: a, tcp: {}, interval: 10}",
            "write `10s` for seconds",
        ),
        ("{host: a, tcp: {}, timeout: 0s}", "at least 1ms"),
        (
            "{host: a, tcp: {}, healthyThreshold: 0}",
            "a number of checks of at least 1",
        ),
        (
            "{host: a, tcp: {}, unhealthyThreshold: 0}",
            "a number of checks of at least 1",
        ),
        ("{host: a, tcp: {}, port: 0}", "a port between 1 and 65535"),
        ("{host: a, tcp: {}, path: /}", "unknown field `path`"),
    ] {
        let loaded = read(spec);
        let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{spec}: {lines:#?}"
        );
        assert!(
            loaded.has_errors() && loaded.documents.health_checks.is_empty(),
            "{spec}"
        );
    }
}

#[test]
fn the_host_and_its_port_have_to_be_there() {
    let with = |spec: &str| errors(&(shop("my-app") + &health_check("x", "my-app", spec)));
    for (spec, expected) in [
        ("{host: shopp, tcp: {}}", "PC0301"),
        ("{host: shop, port: 81, tcp: {}}", "PC0305"),
        ("{host: shop, port: 90, http: {path: /}}", "needs HTTP"),
        ("{host: shop, port: 90, grpc: {}}", "needs HTTP"),
    ] {
        let found = with(spec);
        assert_eq!(found.len(), 1, "{spec}: {found:#?}");
        assert!(found[0].contains(expected), "{spec}: {found:#?}");
    }
    for spec in [
        "{host: shop, tcp: {}}",
        "{host: shop, port: 90, tcp: {}}",
        "{host: shop.my-app, grpc: {}}",
    ] {
        assert_eq!(with(spec), Vec::<String>::new(), "{spec}");
    }
    let opaque = shop("my-app").replace("{number: 80, name: http, protocol: HTTP}, ", "");
    let found = errors(&(opaque + &health_check("x", "my-app", "{host: shop, grpc: {}}")));
    assert!(found[0].contains("speaks HTTP"), "{found:#?}");
}

#[test]
fn two_checks_of_a_namespace_do_not_name_one_host_and_port() {
    let two = |first: &str, namespace: &str, second: &str| {
        let checks = health_check("a", "my-app", first) + &health_check("b", namespace, second);
        errors(&(shop("my-app") + &checks))
    };
    let found = two(
        "{host: shop, port: 80, tcp: {}}",
        "my-app",
        "{host: shop.my-app.svc.cluster.local, port: 80, grpc: {}}",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("PC0306"), "{found:#?}");
    assert!(found[0].contains("HealthCheck my-app/a"), "{found:#?}");
    let others = [
        ("my-app", "{host: shop, tcp: {}}"),
        ("my-app", "{host: shop, port: 90, tcp: {}}"),
        ("elsewhere", "{host: shop.my-app, port: 80, tcp: {}}"),
    ];
    for (namespace, other) in others {
        let found = two("{host: shop, port: 80, tcp: {}}", namespace, other);
        assert_eq!(found, Vec::<String>::new(), "{other}");
    }
}

#[test]
fn a_check_stands_on_the_clusters_of_its_ports() {
    let of = |checks: &[(&str, &str)]| {
        let documents = (0..).zip(checks).map(|(number, (namespace, spec))| {
            health_check(&format!("check-{number}"), namespace, spec)
        });
        probes(&sidecar(&(shop("my-app") + &documents.collect::<String>())))
    };
    assert!(of(&[]).contains(&"80 -".to_owned()), "{:?}", of(&[]));
    let http = of(&[("my-app", "{host: shop, http: {path: /h}}")]);
    assert!(http.contains(&"80 GET /h".to_owned()), "{http:?}");
    assert!(!http.contains(&"90 GET /h".to_owned()), "{http:?}");
    // Whoever names the port comes first.
    let both = of(&[
        ("my-app", "{host: shop, port: 80, http: {path: /h}}"),
        ("my-app", "{host: shop, tcp: {}}"),
    ]);
    assert!(both.contains(&"80 GET /h".to_owned()), "{both:?}");
    // The client's namespace before the root namespace; strangers have no say.
    let layered = of(&[
        (
            "istio-system",
            "{host: shop.my-app, port: 80, http: {path: /root}}",
        ),
        ("my-app", "{host: shop, http: {path: /own}}"),
        (
            "elsewhere",
            "{host: shop.my-app, port: 80, http: {path: /foreign}}",
        ),
    ]);
    assert!(layered.contains(&"80 GET /own".to_owned()), "{layered:?}");
    let foreign = of(&[("elsewhere", "{host: shop.my-app, http: {path: /foreign}}")]);
    assert!(foreign.contains(&"80 -".to_owned()), "{foreign:?}");
    let root = of(&[("istio-system", "{host: shop.my-app, http: {path: /root}}")]);
    assert!(root.contains(&"80 GET /root".to_owned()), "{root:?}");
}
