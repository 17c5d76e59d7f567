//! RateLimit, and the EnvoyFilters that are read as one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::path::Path;
use std::time::Duration;

use policies::document::StringMatch;
use policies::document::rate_limit::{KeySource, LimitDirection};
use policies::load::{Loaded, load};
use policies::mesh::Mesh;
use policies::source::SourceFile;

fn read(text: &str) -> Loaded {
    load(&[SourceFile::new("a.yaml", text)], &Mesh::default())
}

fn sample(name: &str) -> Loaded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/envoy-filters");
    let loaded = read(&std::fs::read_to_string(root.join(name)).unwrap());
    let errors = loaded.diagnostics.iter().filter(|found| found.is_error());
    assert_eq!(
        errors.collect::<Vec<_>>(),
        Vec::<&policies::diagnostic::Diagnostic>::new()
    );
    loaded
}

fn findings(text: &str) -> Vec<String> {
    let loaded = read(text);
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

fn rate_limit(spec: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1\nkind: RateLimit\nmetadata: {{name: x, namespace: my-app}}\nspec:\n{spec}"
    )
}

#[test]
fn a_native_document() {
    let loaded = read(&rate_limit(
        "  selector: {matchLabels: {app: a}}\n  local:\n    enforcedPercent: 50\n    response: {status: 503, headers: {x-limited: 'true'}, rateLimitHeaders: true}\n    limits:\n    \
         - {name: per-client, requests: 100, unit: MINUTE, burst: 200, match: {methods: [GET], path: {prefix: /api}, headers: {X-Tier: {exact: free}}}, \
         by: [{header: {name: X-Api-Key}}, {remoteAddress: {prefixLength4: 24}}, {principal: {}}, {path: {}, equals: /a}, {value: v, key: k}]}\n    \
         - {requests: 5, interval: 100ms}\n  global:\n    service: {host: limits.my-app.svc.cluster.local, port: 8081, domain: shop, failureMode: DENY}\n    \
         descriptors: [{by: [{method: {}}, {host: {}}, {queryParameter: {name: q}}]}]\n",
    ));
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(lines, Vec::<String>::new());
    let limit = &loaded.documents.rate_limits[0];
    assert_eq!(limit.direction, LimitDirection::Inbound);
    let local = limit.local.as_ref().unwrap();
    assert_eq!(
        (local.enabled_percent, local.enforced_percent),
        (100.0, 50.0)
    );
    assert_eq!(
        (local.response.status, local.response.rate_limit_headers),
        (503, true)
    );
    let first = &local.limits[0];
    assert_eq!((first.bucket.requests, first.bucket.burst), (100, 200));
    assert_eq!(first.bucket.interval, Duration::from_mins(1));
    assert!(first.scope.headers.contains_key("x-tier"));
    assert_eq!(first.by[0].key, "x-api-key");
    assert_eq!(
        first.by[1].source,
        KeySource::RemoteAddress {
            prefix_v4: 24,
            prefix_v6: 128
        }
    );
    assert_eq!(first.by[3].equals.as_deref(), Some("/a"));
    assert_eq!(first.by[4].source, KeySource::Constant("v".to_owned()));
    assert_eq!(local.limits[1].bucket.burst, 5);
    let service = limit.global.as_ref().unwrap().service.as_ref().unwrap();
    assert_eq!(
        (service.timeout, service.deny_on_failure),
        (Duration::from_millis(20), true)
    );
}

#[test]
fn wrong_native_documents() {
    for (spec, expected) in [
        ("  {}\n", "expected at least one of `local`, `global`"),
        ("  local: {limits: []}\n", "is empty"),
        (
            "  local: {limits: [{requests: 0, unit: MINUTE}]}\n",
            "of at least 1",
        ),
        (
            "  local: {limits: [{requests: 1}]}\n",
            "expected at least one of `unit`, `interval`",
        ),
        (
            "  local: {limits: [{requests: 1, unit: MINUTE, interval: 1s}]}\n",
            "exclude each other",
        ),
        (
            "  local: {limits: [{requests: 1, unit: WEEK}]}\n",
            "`WEEK` is not one of SECOND",
        ),
        (
            "  local: {limits: [{requests: 1, interval: 10ms}]}\n",
            "at least 50ms",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, by: [{}]}]}\n",
            "expected at least one of `header`",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, by: [{path: {}, method: {}}]}]}\n",
            "exclude each other",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, by: [{remoteAddress: {prefixLength4: 33}}]}]}\n",
            "between 0 and 32",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, match: {}}]}\n",
            "expected at least one of `hosts`",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY}], response: {status: 200}}\n",
            "between 400 and 599",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY}], enabledPercent: 101}\n",
            "between 0 and 100",
        ),
        ("  global: {}\n", "expected at least one of `redis`"),
        (
            "  global: {redis: {address: \"127.0.0.1:6379\", failureMode: DENY}}\n",
            "limits` is missing",
        ),
        (
            "  global: {redis: {address: \"127.0.0.1:6379\"}, limits: [{requests: 1, unit: DAY}]}\n",
            "failureMode` is missing",
        ),
        (
            "  global: {redis: {address: redis, failureMode: DENY}, limits: [{requests: 1, unit: DAY}]}\n",
            "a host and a port",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, by: [{path: {templates: [a]}}]}]}\n",
            "a template such as",
        ),
        (
            "  local: {limits: [{requests: 1, unit: DAY, by: [{claim: {name: a..b}}]}]}\n",
            "the name of a claim",
        ),
        (
            "  global: {service: {host: a, port: 1}}\n",
            "domain` is missing",
        ),
        ("  global: {descriptors: [{by: []}]}\n", "is empty"),
    ] {
        let findings = findings(&rate_limit(spec));
        assert_eq!(findings.len(), 1, "{spec}: {findings:#?}");
        assert!(
            findings.iter().any(|found| found.contains(expected)),
            "{spec}: {findings:#?}"
        );
    }
    // What the one needs the other excludes.
    let both = "  global: {redis: {address: \"r:1\", failureMode: DENY}, service: {host: a, port: 1, domain: d}}\n";
    let findings = findings(&rate_limit(both));
    let excluded = |found: &String| found.contains("`redis` and `service` exclude each other");
    assert!(findings.iter().any(excluded), "{findings:#?}");
}

#[test]
fn a_local_filter_of_a_workload() {
    let loaded = sample("local.yaml");
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(lines, Vec::<String>::new());
    let limit = &loaded.documents.rate_limits[0];
    assert_eq!(
        limit.meta.to_string(),
        "RateLimit istio-system/filter-local-ratelimit-svc"
    );
    assert_eq!(
        limit.attachment.selector.as_ref().unwrap().match_labels["app"].value,
        "productpage"
    );
    let local = limit.local.as_ref().unwrap();
    assert_eq!(
        (local.enabled_percent, local.enforced_percent),
        (100.0, 100.0)
    );
    assert_eq!(local.response.headers["x-local-rate-limit"], "true");
    assert_eq!(local.limits.len(), 1);
    assert_eq!(
        (
            local.limits[0].bucket.requests,
            local.limits[0].bucket.burst
        ),
        (4, 4)
    );
    assert_eq!(local.limits[0].bucket.interval, Duration::from_mins(1));
    assert_eq!(limit.global, None);
}

#[test]
fn local_limits_of_a_port_and_a_path() {
    let loaded = sample("local-route.yaml");
    let limit = &loaded.documents.rate_limits[0];
    let local = limit.local.as_ref().unwrap();
    assert!(local.response.rate_limit_headers);
    assert_eq!(local.limits.len(), 2);
    assert!(local.limits.iter().all(|limit| limit.scope.ports == [8000]));
    let by = &local.limits[0].by[0];
    assert_eq!(by.equals.as_deref(), Some("productpage"));
    let KeySource::Headers {
        headers, expect, ..
    } = &by.source
    else {
        panic!("{by:?}");
    };
    assert!(*expect);
    assert_eq!(
        headers[0],
        (
            ":path".to_owned(),
            StringMatch::Regex("(?i)/productpage.*".to_owned())
        )
    );
    assert_eq!(local.limits[0].bucket.requests, 10);
    assert!(local.limits[1].by.is_empty());
}

#[test]
fn a_service_and_its_descriptors() {
    let loaded = sample("global.yaml");
    let [filter, by_path, of_api] = loaded.documents.rate_limits.as_slice() else {
        panic!("{:?}", loaded.documents.rate_limits);
    };
    let service = filter.global.as_ref().unwrap().service.as_ref().unwrap();
    assert_eq!(service.host.value, "ratelimit.default.svc.cluster.local");
    assert_eq!(
        (service.port.value, service.domain.as_str()),
        (8081, "ratelimit")
    );
    assert_eq!(
        (service.timeout, service.deny_on_failure),
        (Duration::from_secs(10), true)
    );
    let by_path = &by_path.global.as_ref().unwrap().descriptors[0];
    assert_eq!(
        (by_path.by[0].key.as_str(), &by_path.by[0].source),
        ("PATH", &KeySource::Path)
    );
    let of_api = &of_api.global.as_ref().unwrap().descriptors[0];
    assert_eq!(of_api.scope.routes, ["api"]);
    assert_eq!(of_api.scope.ports, [8080]);
    assert!(matches!(&of_api.by[0].source, KeySource::Headers { value, .. } if value == "api"));
}

#[test]
fn any_other_envoy_filter_is_refused() {
    let filter = |patch: &str| {
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: x}}\nspec:\n  configPatches:\n  - {patch}\n"
        )
    };
    for (patch, expected) in [
        (
            "{applyTo: CLUSTER, match: {context: ANY}, patch: {operation: ADD, value: {name: lua_cluster}}}",
            "error[PC0132]: a patch of `CLUSTER` is not recognised",
        ),
        (
            "{applyTo: HTTP_FILTER, patch: {operation: INSERT_FIRST, value: {name: envoy.filters.http.ext_proc}}}",
            "error[PC0132]: the filter `envoy.filters.http.ext_proc` is not recognised",
        ),
        (
            "{applyTo: HTTP_FILTER, patch: {operation: REMOVE}}",
            "error[PC0132]: a patch of a filter that is not named",
        ),
        (
            "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY}, patch: {operation: MERGE, value: {rate_limits: []}}}",
            "error[PC0132]: a patch without rate limits",
        ),
        (
            "{applyTo: VIRTUAL_HOST, match: {context: ANY}, patch: {operation: MERGE, value: {rate_limits: [{actions: [{remote_address: {}}]}]}}}",
            "neither inbound nor outbound",
        ),
        (
            "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY}, patch: {operation: REMOVE, value: {rate_limits: [{actions: [{remote_address: {}}]}]}}}",
            "an operation that is not recognised",
        ),
        (
            "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY}, patch: {operation: MERGE, value: {rate_limits: [{actions: [{metadata: {}}]}]}}}",
            "unknown field `metadata`",
        ),
        (
            "{applyTo: VIRTUAL_HOST, match: {context: GATEWAY}, patch: {operation: MERGE, value: {cors: {}}}}",
            "unknown field `cors`",
        ),
    ] {
        let findings = findings(&filter(patch));
        assert!(
            findings.iter().any(|found| found.contains(expected)),
            "{patch}: {findings:#?}"
        );
        let loaded = read(&filter(patch));
        assert!(
            loaded.has_errors() && loaded.documents.rate_limits.is_empty(),
            "{patch}"
        );
    }
    let recognised = findings(&filter("{applyTo: CLUSTER, patch: {operation: ADD}}"));
    assert!(
        recognised[0].contains(
            "(help: recognised are the HTTP filters `envoy.filters.http.local_ratelimit`"
        ),
        "{recognised:?}"
    );
}
