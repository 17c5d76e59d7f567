//! How long it takes to find the route of a request, by how many hosts there are and how many rules a host has.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod generator;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use policies::check::check;
use policies::load::load;
use policies::mesh::Mesh;
use policies::route::{Compiled, Proxy, RequestView, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;
use std::hint::black_box;

/// The steps of a scale; only the first when run as a test.
fn scale() -> &'static [usize] {
    if std::env::args().any(|argument| argument == "--bench") {
        &[10, 100, 1_000, 10_000]
    } else {
        &[10]
    }
}

/// The table of a gateway with hosts `h0`, `h1` … of that many rules each.
fn table(hosts: usize, routes: usize) -> Compiled {
    let host = |number| generator::long_virtual_service(&format!("h{number}"), routes);
    let mut texts = vec![generator::gateway(), generator::service_entry(0)];
    texts.extend((0..hosts).map(host));
    let files: Vec<SourceFile> = (0..)
        .zip(texts)
        .map(|(number, text)| SourceFile::new(format!("{number:05}.yaml"), text))
        .collect();
    let mesh = Mesh::default();
    let loaded = load(&files, &mesh);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let (registry, found) = check(&loaded.documents, &mesh);
    assert!(found.is_empty(), "{:?}", found.first());
    let workload = Workload {
        name: "istio-ingressgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        service_account: "istio-ingressgateway".to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
    };
    let proxy = Proxy::Gateway {
        workload: &workload,
    };
    RouteTable::compile(&loaded.documents, &registry, &mesh, proxy)
}

fn view<'a>(host: &'a str, path: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView {
        host,
        port: 80,
        path,
        query: None,
        method: "GET",
        scheme: "http",
        headers,
        claims: None,
    }
}

/// Every request asks for another host and another of its rules.
fn hosts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hosts of 10 rules");
    group.throughput(Throughput::Elements(1));
    for hosts in scale() {
        let compiled = table(*hosts, 10);
        let requests: Vec<(String, String)> = (0..4_096_usize)
            .map(|number| {
                // A step that visits every host, in no order that a cache would like.
                let host = number.wrapping_mul(7_919) % hosts;
                let end = if number % 4 == 0 { "item" } else { "" };
                (format!("h{host}"), format!("/r{}/{end}", number % 10))
            })
            .collect();
        let headers = HeaderMap::new();
        let mut next = requests.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(hosts), |bench| {
            bench.iter(|| {
                let (host, path) = next.next().map_or(("", ""), |(h, p)| (h, p));
                compiled.routes.find(black_box(&view(host, path, &headers)))
            });
        });
    }
    group.finish();
}

/// The last rule by its path, one in the middle by its prefix, and the default behind all of them.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules of one host");
    for routes in scale() {
        let compiled = table(1, *routes);
        let headers = HeaderMap::new();
        let last = (routes - 2) / 4 * 4;
        for (name, path) in [
            ("last exact path", format!("/r{last}/item")),
            ("middle prefix", format!("/r{}/x", routes / 8 * 4 + 3)),
            ("default", "/s/nothing/like/it".to_owned()),
        ] {
            group.bench_function(BenchmarkId::new(name, routes), |bench| {
                bench.iter(|| {
                    let found = compiled
                        .routes
                        .find(black_box(&view("h0", &path, &headers)));
                    assert!(found.is_some());
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hosts, rules);
criterion_main!(benches);
