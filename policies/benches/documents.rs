//! How long it takes to read, check and compile document sets, and to do it again after one file changed.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod generator;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use policies::check::check;
use policies::load::{Loader, load};
use policies::mesh::Mesh;
use policies::route::{Proxy, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

/// The steps of a scale; only a very small one when run as a test.
fn scale() -> &'static [usize] {
    if std::env::args().any(|argument| argument == "--bench") {
        &[100, 1_000, 10_000]
    } else {
        &[10]
    }
}

fn files(documents: usize) -> Vec<SourceFile> {
    generator::set(documents)
        .into_iter()
        .map(|(name, text)| SourceFile::new(name, text))
        .collect()
}

fn documents(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("documents");
    group.sample_size(10);
    let mesh = Mesh::default();
    let workload = Workload {
        name: "istio-ingressgateway".to_owned(),
        namespace: "istio-system".to_owned(),
        service_account: "istio-ingressgateway".to_owned(),
        labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
    };
    let gateway = Proxy::Gateway {
        workload: &workload,
    };
    for documents in scale() {
        let files = files(*documents);
        let bytes: usize = files.iter().map(|file| file.text.len()).sum();
        group.throughput(Throughput::Bytes(u64::try_from(bytes).unwrap_or(0)));
        group.bench_function(BenchmarkId::new("load", documents), |bench| {
            bench.iter(|| load(&files, &mesh));
        });
        let loaded = load(&files, &mesh);
        group.bench_function(BenchmarkId::new("check", documents), |bench| {
            bench.iter(|| check(&loaded.documents, &mesh));
        });
        let (registry, _) = check(&loaded.documents, &mesh);
        group.bench_function(
            BenchmarkId::new("compile for a gateway", documents),
            |bench| {
                bench.iter(|| RouteTable::compile(&loaded.documents, &registry, &mesh, gateway));
            },
        );
        let mut loader = Loader::default();
        loader.load(&files, &mesh);
        let mut edits = 0;
        group.bench_function(BenchmarkId::new("reload of one file", documents), |bench| {
            bench.iter_batched(
                || {
                    edits += 1;
                    let mut edition = files.clone();
                    if let Some(file) = edition.last_mut() {
                        file.text = format!("{}# edit {edits}\n", file.text).into();
                    }
                    edition
                },
                |edition| {
                    let loaded = loader.load(&edition, &mesh);
                    let (registry, _) = check(&loaded.documents, &mesh);
                    RouteTable::compile(&loaded.documents, &registry, &mesh, gateway)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, documents);
criterion_main!(benches);
