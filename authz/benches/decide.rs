//! How long it takes to compile the policies of a workload and to judge a request by them.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../../policies/benches/generator.rs"]
mod generator;

use std::error::Error;
use std::hint::black_box;
use std::net::Ipv4Addr;

use authz::{Facts, HttpFacts, PolicySet, Verdict};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use identity::SpiffeId;
use policies::load::load;
use policies::mesh::Mesh;
use policies::source::SourceFile;
use policies::workload::Workload;

/// How many policies there are in all; a tenth of a thousandth of them is for the workload.
fn scale() -> &'static [usize] {
    if std::env::args().any(|argument| argument == "--bench") {
        &[100, 1_000, 10_000]
    } else {
        &[10]
    }
}

#[expect(
    clippy::panic_in_result_fn,
    reason = "a bench that measures something else than it says must stop"
)]
fn decide(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("policies");
    let mesh = Mesh::default();
    let workload = Workload {
        name: "service-0".to_owned(),
        namespace: "team-00".to_owned(),
        service_account: "service-0".to_owned(),
        labels: [("app".to_owned(), "service-0".to_owned())].into(),
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", "tenant-shared".parse()?);
    for documents in scale() {
        let services = generator::services(*documents);
        let files: Vec<SourceFile> = (0..*documents)
            .map(|number| {
                let text = generator::authorization_policy(number, services);
                SourceFile::new(format!("{number:05}.yaml"), text)
            })
            .collect();
        let loaded = load(&files, &mesh);
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        group.bench_function(BenchmarkId::new("compile", documents), |bench| {
            bench.iter(|| PolicySet::compile(&loaded.documents, &workload, &mesh));
        });
        let policies = PolicySet::compile(&loaded.documents, &workload, &mesh);
        let caller = 1 % services;
        let peer = SpiffeId::parse(&format!(
            "spiffe://cluster.local/ns/{}/sa/service-{caller}",
            generator::namespace(caller)
        ))?;
        for (name, path, verdict) in [
            ("allow", "/app-0/api/x", Verdict::Allow),
            ("deny", "/nothing/like/it", Verdict::Deny),
        ] {
            let facts = Facts {
                peer: Some(&peer),
                source_ip: Ipv4Addr::LOCALHOST.into(),
                remote_ip: Ipv4Addr::LOCALHOST.into(),
                destination_ip: Ipv4Addr::LOCALHOST.into(),
                destination_port: 8080,
                sni: None,
                http: Some(HttpFacts {
                    method: "GET",
                    host: "service-0",
                    path,
                    headers: &headers,
                    claims: None,
                }),
            };
            assert_eq!(policies.decide(&facts).verdict, verdict);
            group.bench_function(BenchmarkId::new(name, documents), |bench| {
                bench.iter(|| policies.decide(black_box(&facts)));
            });
        }
    }
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    assert!(decide(criterion).is_ok(), "the names are good");
}

criterion_group!(all, benches);
criterion_main!(all);
