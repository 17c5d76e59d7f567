//! How long it takes to compile the policies of a workload and to judge a request by them.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

#[path = "../../policies/benches/generator.rs"]
mod generator;
mod mix;

use std::error::Error;
use std::hint::black_box;
use std::net::Ipv4Addr;

use authz::{Claims, Facts, HttpFacts, PolicySet, Verdict};
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

/// How many rules of the mix hold for the one workload.
fn rules() -> &'static [usize] {
    if std::env::args().any(|argument| argument == "--bench") {
        &[10, 100, 1_000, 10_000, 100_000]
    } else {
        &[10, 100]
    }
}

/// Decisions under the mix of `mix.rs`: for each kind of rule a request that it allows, and one that nothing allows.
#[expect(
    clippy::panic_in_result_fn,
    reason = "a bench that measures something else than it says must stop"
)]
fn mixed(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("mix");
    group.sample_size(20);
    group.measurement_time(std::time::Duration::from_secs(1));
    group.warm_up_time(std::time::Duration::from_millis(300));
    let mesh = Mesh::default();
    let workload = Workload {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels: std::collections::BTreeMap::default(),
    };
    for number in rules() {
        let number = *number;
        let files: Vec<SourceFile> = mix::files(number)
            .into_iter()
            .map(|(name, text)| SourceFile::new(name, text))
            .collect();
        let loaded = load(&files, &mesh);
        assert!(
            loaded.diagnostics.is_empty(),
            "{:?}",
            loaded.diagnostics.first()
        );
        if number <= 10_000 {
            group.bench_function(BenchmarkId::new("compile", number), |bench| {
                bench.iter(|| PolicySet::compile(&loaded.documents, &workload, &mesh));
            });
        }
        let policies = PolicySet::compile(&loaded.documents, &workload, &mesh);
        assert_eq!(policies.rules(), number);
        // The last ten or twenty rules have one of each kind.
        let first = number.saturating_sub(20);
        let own = first + 5;
        let peer = SpiffeId::parse(&format!("spiffe://{}", mix::caller(own, number)))?;
        let mut headers = HeaderMap::new();
        for name in ["user-agent", "accept", "x-request-id", "traceparent"] {
            headers.insert(name, "something".parse()?);
        }
        let mut tenant = headers.clone();
        let with_header = (0..number).rev().find(|rule| rule % 40 == 19).unwrap_or(19);
        tenant.insert("x-tenant", format!("tenant-{with_header}").parse()?);
        let claims = |group: &str| {
            let payload = serde_json::json!({"iss": "i", "sub": "s", "groups": ["staff", group]});
            Claims::new(payload.as_object().cloned().unwrap_or_default(), &[])
        };
        let with_claim = (0..number).rev().find(|rule| rule % 40 == 39).unwrap_or(39);
        let (other, grouped) = (claims("other"), claims(&format!("group-{with_claim}")));
        let enough = number >= 100;
        for (name, method, path, headers, claims, verdict) in [
            (
                "exact",
                "GET",
                format!("/api-{own}/x/y"),
                &headers,
                &other,
                true,
            ),
            (
                "template",
                "GET",
                format!("/tenants/a/orders-{0}/b/c/items-{0}", first + 16),
                &headers,
                &other,
                enough,
            ),
            (
                "suffix",
                "GET",
                format!("/a/b/export-{}.csv", first + 17),
                &headers,
                &other,
                enough,
            ),
            (
                "negation",
                "GET",
                format!("/shared-{}/x", first + 18),
                &headers,
                &other,
                enough,
            ),
            (
                "header",
                "GET",
                "/x/y/z".to_owned(),
                &tenant,
                &other,
                enough,
            ),
            (
                "claim",
                "GET",
                "/x/y/z".to_owned(),
                &headers,
                &grouped,
                enough,
            ),
            (
                "nothing",
                "POST",
                format!("/api-{own}/x/y"),
                &headers,
                &other,
                false,
            ),
        ] {
            let facts = Facts {
                peer: Some(&peer),
                source_ip: Ipv4Addr::LOCALHOST.into(),
                remote_ip: Ipv4Addr::LOCALHOST.into(),
                destination_ip: Ipv4Addr::LOCALHOST.into(),
                destination_port: 8080,
                sni: None,
                http: Some(HttpFacts {
                    method,
                    host: "web.shop.svc.cluster.local:8080",
                    path: &path,
                    headers,
                    claims: Some(claims),
                }),
            };
            assert_eq!(
                policies.decide(&facts).is_allowed(),
                verdict,
                "{name} of {number}"
            );
            group.bench_function(BenchmarkId::new(name, number), |bench| {
                bench.iter(|| policies.decide(black_box(&facts)));
            });
        }
    }
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    assert!(decide(criterion).is_ok(), "the names are good");
    assert!(mixed(criterion).is_ok(), "the names are good");
}

criterion_group!(all, benches);
criterion_main!(all);
