//! Names, labels and bounds of the TCP metrics.

use super::*;

fn connection(metrics: &RequestMetrics, account: &str) -> TcpConnection {
    TcpConnection {
        reporter: Reporter::Destination,
        source: metrics.party(&Party::workload(account, "my-app", None, |_| None)),
        destination: PartyId::default(),
        service: metrics.service(&DestinationService {
            host: "db.my-app.svc.cluster.local".into(),
            name: "db".into(),
            namespace: "my-app".into(),
        }),
        security: Security::MutualTls,
        flags: ResponseFlags::NONE,
    }
}

/// Every sample of a metric: the labels that matter here, and the value.
fn samples(registry: &Registry, name: &str) -> Vec<(String, f64)> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let metrics = family.map(prometheus::proto::MetricFamily::get_metric);
    let of = |metric: &prometheus::proto::Metric| {
        let label = |name: &str| {
            let mut labels = metric.get_label().iter();
            labels
                .find(|label| label.name() == name)
                .map_or("", |label| label.value())
                .to_owned()
        };
        let shown = [
            "reporter",
            "source_workload",
            "destination_workload",
            "destination_service_name",
            "request_protocol",
            "response_flags",
            "connection_security_policy",
        ]
        .map(label)
        .join(" ");
        (shown, metric.get_counter().get_value())
    };
    metrics.unwrap_or_default().iter().map(of).collect()
}

#[test]
fn a_connection_is_counted_under_the_names_of_istio() {
    let registry = Registry::new();
    let requests = RequestMetrics::new(&registry, 10).unwrap();
    let metrics = TcpMetrics::new(&registry, &requests, 10).unwrap();
    let open = connection(&requests, "order");
    metrics.opened(open);
    metrics.carried(open, 5, 7);
    metrics.carried(open, 1, 0);
    metrics.carried(open, 0, 0);
    metrics.closed(TcpConnection {
        flags: ResponseFlags::POLICY_DENIED,
        ..open
    });
    let plain = "destination order unknown db tcp - mutual_tls";
    for (name, labels, value) in [
        ("istio_tcp_connections_opened_total", plain, 1.0),
        ("istio_tcp_received_bytes_total", plain, 6.0),
        ("istio_tcp_sent_bytes_total", plain, 7.0),
        (
            "istio_tcp_connections_closed_total",
            "destination order unknown db tcp PD mutual_tls",
            1.0,
        ),
    ] {
        let found = samples(&registry, name);
        assert!(
            found.contains(&(labels.to_owned(), value)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn above_the_bound_strangers_share_one_label_set() {
    let registry = Registry::new();
    let requests = RequestMetrics::new(&registry, 100).unwrap();
    let metrics = TcpMetrics::new(&registry, &requests, 2).unwrap();
    for number in 0..5 {
        metrics.opened(connection(&requests, &format!("caller-{number}")));
    }
    let found = samples(&registry, "istio_tcp_connections_opened_total");
    assert_eq!(found.len(), 3, "{found:?}");
    let shared = "destination unknown unknown unknown tcp - mutual_tls";
    assert!(found.contains(&(shared.to_owned(), 3.0)), "{found:?}");
    let overflow = registry.gather();
    let overflow = overflow
        .iter()
        .find(|family| family.name() == "portcullis_tcp_metrics_overflow_total")
        .unwrap();
    let counted = overflow.get_metric()[0].get_counter().get_value();
    assert!((counted - 3.0).abs() < f64::EPSILON, "{counted}");
}
