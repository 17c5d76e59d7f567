//! Timelines: what happens to breakers, told the time. Nothing here waits.

mod breakers;
mod carrying;
mod priorities;
mod properties;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cluster::Cluster;
use crate::load::load;
use crate::mesh::Mesh;
use crate::resilience::balance::mixed;
use crate::route::{Proxy, RouteTable};
use crate::source::SourceFile;
use crate::workload::Workload;

/// The first moment of every timeline.
const BEGIN: Moment = Moment::from_nanos(1_000_000_000);

const OK: TryOutcome = answered(200);
const ERROR: TryOutcome = answered(500);

const fn answered(status: u16) -> TryOutcome {
    TryOutcome::Answered { status, grpc: None }
}

fn at(seconds: u64) -> Moment {
    BEGIN.plus(Duration::from_secs(seconds))
}

/// An endpoint of the service `shop` as a document has it.
fn endpoint(number: usize, rest: &str) -> String {
    format!(
        "{{address: 10.0.{}.{}{rest}}}",
        number / 250,
        number % 250 + 1
    )
}

fn endpoints(count: usize) -> Vec<String> {
    (0..count).map(|number| endpoint(number, "")).collect()
}

/// The cluster of `shop` for a sidecar with some labels, under a traffic policy.
fn cluster_of(endpoints: &[String], policy: &str, labels: &str) -> Cluster {
    // A policy that says nothing is a mistake.
    let policy = if policy.is_empty() {
        "tls: {mode: DISABLE}"
    } else {
        policy
    };
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
  trafficPolicy: {{{policy}}}
",
        endpoints.join(", ")
    );
    let mesh = Mesh::default();
    let loaded = load(&[SourceFile::new("shop.yaml", text)], &mesh);
    let (registry, found) = crate::check::check(&loaded.documents, &mesh);
    let all = loaded.diagnostics.iter().chain(&found);
    let errors: Vec<_> = all.filter(|found| found.is_error()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let labels = labels.split(',').filter_map(|label| label.split_once('='));
    let workload = Workload {
        name: "caller".to_owned(),
        namespace: "default".to_owned(),
        service_account: "caller".to_owned(),
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    };
    let proxy = Proxy::Sidecar {
        workload: &workload,
    };
    let compiled = RouteTable::compile(&loaded.documents, &registry, &mesh, proxy);
    let (_, cluster) = compiled.clusters.iter().next().unwrap();
    cluster.clone()
}

/// A cluster under a policy, seen from nowhere in particular.
fn live(count: usize, policy: &str) -> Arc<Live> {
    let cluster = cluster_of(&endpoints(count), policy, "");
    Arc::new(Live::new(&cluster, None, BEGIN))
}

/// One that watches its endpoints.
fn watched(count: usize, detection: &str) -> Arc<Live> {
    live(count, &format!("outlierDetection: {{{detection}}}"))
}

/// One try at a given endpoint.
fn strike(live: &Arc<Live>, position: usize, outcome: TryOutcome, now: Moment) {
    live.begin(position, now).report(outcome, now);
}

/// One request: where it went, answered as the endpoint answers.
fn request(
    live: &Arc<Live>,
    now: Moment,
    random: u64,
    answer: impl Fn(usize) -> TryOutcome,
) -> Option<usize> {
    let position = live.pick(&Choice::default(), now, mixed(random, 9))?;
    live.begin(position, now).report(answer(position), now);
    Some(position)
}

fn states(live: &Live, now: Moment) -> Vec<BreakerState> {
    live.endpoint_states(now)
        .map(|state| state.breaker)
        .collect()
}
