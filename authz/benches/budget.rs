//! The budget of a large set: CPU time and memory of every step from texts to tables, in one run.
//!
//! `cargo bench -p authz --bench budget -- [--documents N] [--write DIRECTORY]`. Run as a test it takes a small set.
//! CPU time is the main thread's; `heap` is what lives and lived at most, as the allocator counts it; the last line is
//! what the system counts.
#![allow(clippy::print_stdout, reason = "a bench prints")]
#![allow(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "figures for people"
)]

#[path = "../../policies/benches/generator.rs"]
mod generator;

use std::error::Error;
use std::fs;
use std::path::Path;

use authz::PolicySet;
use policies::load::Loader;
use policies::mesh::Mesh;
use policies::route::{Proxy, RouteTable};
use policies::source::SourceFile;
use policies::workload::Workload;

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;

const MIB: f64 = 1_048_576.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let full = arguments.iter().any(|argument| argument == "--bench");
    let documents = match value("--documents") {
        Some(number) => number.parse()?,
        None if full => 10_000,
        None => 20,
    };
    let files = generator::set(documents);
    if let Some(directory) = value("--write") {
        return write(Path::new(directory), &files);
    }
    let files: Vec<SourceFile> = files
        .into_iter()
        .map(|(name, text)| SourceFile::new(name, text))
        .collect();
    measure(&files, documents);
    Ok(())
}

fn write(directory: &Path, files: &[generator::File]) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
    }
    println!("{} files in {}", files.len(), directory.display());
    Ok(())
}

fn measure(files: &[SourceFile], documents: usize) {
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    println!(
        "{documents} VirtualServices and AuthorizationPolicies: {} files, {:.1} MiB",
        files.len(),
        bytes as f64 / MIB
    );
    let mesh = Mesh::default();
    let labels: &[(&str, &str)] = &[("istio", "ingressgateway")];
    let edge = workload("istio-ingressgateway", "istio-system", labels);
    let side = workload("service-0", "team-00", &[("app", "service-0")]);
    let begin = cpu();
    let mut loader = Loader::default();
    let loaded = step("load", || loader.load(files, &mesh));
    let documents = &loaded.documents;
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let (registry, found) = step("check", || policies::check::check(documents, &mesh));
    assert!(found.is_empty(), "{:?}", found.first());
    let found = step("check of policies", || {
        authz::check::check(documents, &registry, &mesh)
    });
    assert!(found.is_empty(), "{:?}", found.first());
    let shared = cpu() - begin;
    for (name, proxy) in [
        ("gateway", Proxy::Gateway { workload: &edge }),
        ("sidecar", Proxy::Sidecar { workload: &side }),
    ] {
        let before = cpu();
        let compiled = step(&format!("routes of a {name}"), || {
            RouteTable::compile(documents, &registry, &mesh, proxy)
        });
        let policies = step(&format!("policies of a {name}"), || {
            PolicySet::compile(documents, proxy.workload(), &mesh)
        });
        println!(
            "{name}: {} clusters, {} policies; {:.0} ms of CPU from texts to tables",
            compiled.clusters.len(),
            policies.policies(),
            shared + cpu() - before
        );
    }
    reload(files, &mut loader, &mesh, &edge);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("{}", peak.unwrap_or_default());
}

/// Everything again after one file has changed, while the generation before is still in force.
fn reload(files: &[SourceFile], loader: &mut Loader, mesh: &Mesh, edge: &Workload) {
    let mut edition = files.to_vec();
    if let Some(file) = edition.last_mut() {
        file.text = file.text.replace("HEAD", "PATCH").into();
    }
    step("reload for a gateway", || {
        let loaded = loader.load(&edition, mesh);
        let (registry, mut found) = policies::check::check(&loaded.documents, mesh);
        found.extend(authz::check::check(&loaded.documents, &registry, mesh));
        assert!(found.is_empty(), "{:?}", found.first());
        let proxy = Proxy::Gateway { workload: edge };
        let routes = RouteTable::compile(&loaded.documents, &registry, mesh, proxy);
        let policies = PolicySet::compile(&loaded.documents, edge, mesh);
        (loaded, registry, routes, policies)
    });
}

fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    allocations::restart_peak();
    let (before, live) = (cpu(), allocations::live());
    let (value, count) = allocations::counted(work);
    println!(
        "{name:24} {:7.1} ms  heap {:+7.1} MiB, at most {:6.1} MiB  {count:9} allocations",
        cpu() - before,
        (allocations::live() as f64 - live as f64) / MIB,
        allocations::peak() as f64 / MIB,
    );
    value
}

/// CPU time of the main thread in milliseconds; zero where the kernel does not say.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.unwrap_or(0.0) / 1e6
}

fn workload(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Workload {
    Workload {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        service_account: name.to_owned(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}
