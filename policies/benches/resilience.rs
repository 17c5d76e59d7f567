//! What the engine costs a request: admitted, given an endpoint, reported. The goal: 250 ns with 1000 endpoints.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use policies::check::check;
use policies::load::load;
use policies::mesh::Mesh;
use policies::resilience::{Choice, Live, Moment, TryOutcome};
use policies::route::{Proxy, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

const BEGIN: Moment = Moment::from_nanos(1_000_000_000);

/// A cluster of so many endpoints under a load balancer, with a breaker.
fn live(endpoints: usize, balancer: &str) -> Arc<Live> {
    let addresses: Vec<String> = (0..endpoints)
        .map(|number| format!("{{address: 10.0.{}.{}}}", number / 250, number % 250 + 1))
        .collect();
    let text = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop}}
spec:
  hosts: [shop.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shop}}
spec:
  host: shop.example.com
  trafficPolicy:
    loadBalancer: {{{balancer}}}
    connectionPool: {{http: {{http2MaxRequests: 1000000}}}}
    outlierDetection: {{consecutive5xxErrors: 5, maxEjectionPercent: 50}}
",
        addresses.join(", ")
    );
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("shop.yaml", text)], &mesh);
    let (registry, found) = check(&loaded.documents, &mesh);
    assert!(found.is_empty(), "{:?}", found.first());
    let workload = Workload {
        name: "caller".to_owned(),
        namespace: "default".to_owned(),
        service_account: "caller".to_owned(),
        labels: std::collections::BTreeMap::new(),
    };
    let proxy = Proxy::Sidecar {
        workload: &workload,
    };
    let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh, proxy);
    let live = compiled.clusters.iter().next();
    let live = live.map(|(_, cluster)| Live::new(cluster, None, BEGIN));
    Arc::new(live.unwrap_or_else(|| std::process::abort()))
}

fn requests(criterion: &mut Criterion) {
    let scale: &[usize] = if std::env::args().any(|argument| argument == "--bench") {
        &[10, 1_000]
    } else {
        &[10]
    };
    let mut group = criterion.benchmark_group("admit, pick, begin, report");
    group.throughput(Throughput::Elements(1));
    group.measurement_time(Duration::from_secs(2));
    group.warm_up_time(Duration::from_millis(500));
    for (name, balancer) in [
        ("round robin", "simple: ROUND_ROBIN"),
        ("least request", "simple: LEAST_REQUEST"),
        ("random", "simple: RANDOM"),
        ("ring", "consistentHash: {httpHeaderName: x-user}"),
        (
            "maglev",
            "consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 65537}}",
        ),
    ] {
        for endpoints in scale {
            let live = live(*endpoints, balancer);
            let mut random = 1_u64;
            group.bench_function(BenchmarkId::new(name, endpoints), |bench| {
                bench.iter(|| {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let admitted = live.admit();
                    let choice = Choice {
                        tried: &[],
                        hash: Some(random),
                    };
                    if let Some(position) = live.pick(black_box(&choice), BEGIN, random) {
                        let outcome = TryOutcome::Answered {
                            status: 200,
                            grpc: None,
                        };
                        live.begin(position, BEGIN)
                            .report(black_box(outcome), BEGIN);
                    }
                    black_box(admitted.is_ok())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
