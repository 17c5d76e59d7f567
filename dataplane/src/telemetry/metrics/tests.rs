//! Names, labels and bounds of the request metrics.

use std::collections::BTreeMap;

use identity::SpiffeId;

use super::*;

fn observation(metrics: &RequestMetrics, source: &Party, destination: &Party) -> Observation {
    Observation {
        reporter: Reporter::Source,
        source: metrics.party(source),
        destination: metrics.party(destination),
        service: metrics.service(&DestinationService {
            host: "product-service.my-app.svc.cluster.local".into(),
            name: "product-service".into(),
            namespace: "my-app".into(),
        }),
        protocol: RequestProtocol::Http,
        response_code: 200,
        flags: ResponseFlags::NONE,
        grpc_status: None,
        security: Security::MutualTls,
        duration: Duration::from_millis(7),
        request_bytes: 10,
        response_bytes: 20,
    }
}

fn gateway() -> Party {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway");
    Party::workload(
        "istio-ingressgateway",
        "istio-system",
        id.ok().as_ref(),
        |label| (label == "app").then_some("istio-ingressgateway"),
    )
}

fn labels(registry: &Registry, name: &str) -> Vec<BTreeMap<String, String>> {
    let families = registry.gather();
    let family = families.iter().find(|f| f.name() == name).unwrap();
    let of = |metric: &prometheus::proto::Metric| {
        metric
            .get_label()
            .iter()
            .map(|l| (l.name().to_owned(), l.value().to_owned()))
            .collect()
    };
    family.get_metric().iter().map(of).collect()
}

#[test]
fn every_label_of_istio_is_there() {
    let registry = Registry::new();
    let metrics = RequestMetrics::new(&registry, 100).unwrap();
    let product = Party::workload("product-service-v2", "my-app", None, |label| match label {
        "app" => Some("product-service"),
        "version" => Some("v2"),
        _ => None,
    });
    metrics.observe(&observation(&metrics, &gateway(), &product));
    for name in [
        "istio_requests_total",
        "istio_request_duration_milliseconds",
        "istio_request_bytes",
        "istio_response_bytes",
    ] {
        let series = labels(&registry, name);
        let [only] = &series[..] else {
            panic!("{name}: {series:?}")
        };
        let expected = BTreeMap::from([
            ("reporter", "source"),
            ("source_workload", "istio-ingressgateway"),
            ("source_workload_namespace", "istio-system"),
            (
                "source_principal",
                "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway",
            ),
            ("source_app", "istio-ingressgateway"),
            ("source_version", "unknown"),
            ("source_cluster", "unknown"),
            ("source_canonical_service", "istio-ingressgateway"),
            ("source_canonical_revision", "latest"),
            ("destination_workload", "product-service-v2"),
            ("destination_workload_namespace", "my-app"),
            ("destination_principal", "unknown"),
            ("destination_app", "product-service"),
            ("destination_version", "v2"),
            ("destination_cluster", "unknown"),
            ("destination_canonical_service", "product-service"),
            ("destination_canonical_revision", "v2"),
            (
                "destination_service",
                "product-service.my-app.svc.cluster.local",
            ),
            ("destination_service_name", "product-service"),
            ("destination_service_namespace", "my-app"),
            ("request_protocol", "http"),
            ("response_code", "200"),
            ("grpc_response_status", ""),
            ("response_flags", "-"),
            ("connection_security_policy", "mutual_tls"),
        ]);
        let found: BTreeMap<&str, &str> =
            only.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn one_series_per_label_set_and_one_count_per_request() {
    let registry = Registry::new();
    let metrics = RequestMetrics::new(&registry, 100).unwrap();
    let peer = Party::peer(&SpiffeId::parse("spiffe://cluster.local/ns/my-app/sa/order").unwrap());
    let seen = observation(&metrics, &peer, &Party::default());
    for _ in 0..3 {
        metrics.observe(&seen);
    }
    let grpc = Observation {
        protocol: RequestProtocol::Grpc,
        grpc_status: Some(14),
        flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
        security: Security::Unknown,
        reporter: Reporter::Destination,
        ..seen
    };
    metrics.observe(&grpc);
    let series = labels(&registry, "istio_requests_total");
    assert_eq!(series.len(), 2);
    let grpc = series
        .iter()
        .find(|s| s["request_protocol"] == "grpc")
        .unwrap();
    assert_eq!(grpc["grpc_response_status"], "14");
    assert_eq!(grpc["response_flags"], "UF");
    assert_eq!(grpc["reporter"], "destination");
    assert_eq!(grpc["connection_security_policy"], "unknown");
    assert_eq!(grpc["source_workload"], "order");
    let families = registry.gather();
    let total = families
        .iter()
        .find(|f| f.name() == "istio_requests_total")
        .unwrap();
    let counts: f64 = total
        .get_metric()
        .iter()
        .map(|m| m.get_counter().get_value())
        .sum();
    assert!((counts - 4.0).abs() < f64::EPSILON);
}

#[test]
fn label_sets_are_bounded() {
    let registry = Registry::new();
    let metrics = RequestMetrics::new(&registry, 10).unwrap();
    let mut seen = observation(&metrics, &gateway(), &Party::default());
    for code in 200..300 {
        seen.response_code = code;
        metrics.observe(&seen);
    }
    let series = labels(&registry, "istio_requests_total");
    assert_eq!(series.len(), 11);
    let other = series
        .iter()
        .find(|s| s["source_workload"] == "unknown")
        .unwrap();
    assert_eq!(other["response_code"], "200");
    assert_eq!(metrics.series.overflowed(), 90);
    for n in 0..100 {
        let party = Party {
            workload: format!("w{n}").into(),
            ..Party::default()
        };
        metrics.observe(&observation(&metrics, &party, &party));
    }
    assert_eq!(labels(&registry, "istio_requests_total").len(), 11);
}
