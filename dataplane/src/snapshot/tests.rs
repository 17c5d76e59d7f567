//! What a generation holds, and what keeps one from coming about.

use policies::cluster::EndpointAddress;
use policies::resilience::Choice;
use policies::route::{RequestView, RouteAction};

use super::*;
use crate::testing::{Documents, context};

fn documents(addresses: &[&str]) -> Vec<SourceFile> {
    let mut documents = Documents::new();
    for address in addresses {
        documents.endpoint(address.parse().unwrap(), None);
    }
    documents.files()
}

fn cluster_of(snapshot: &Snapshot) -> ClusterIndex {
    let headers = http::HeaderMap::new();
    let route = snapshot.routes.find(&RequestView {
        host: "product-service:8080",
        port: 8080,
        path: "/",
        query: None,
        method: "GET",
        scheme: "http",
        headers: &headers,
        claims: None,
    });
    match &route.unwrap().action {
        RouteAction::Forward(clusters) => clusters.pick(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_document_set_becomes_a_generation() {
    let context = context(Role::Sidecar);
    let first = Snapshot::build(
        &mut Loader::default(),
        &documents(&["127.0.0.1:7001"]),
        &context,
        None,
    )
    .unwrap();
    assert_eq!(first.generation, 1);
    assert!(first.listeners.is_none());
    let index = cluster_of(&first);
    let cluster = first.clusters.get(index).unwrap();
    let expected = EndpointAddress::Socket("127.0.0.1:7001".parse().unwrap());
    assert_eq!(cluster.endpoints[0].address, expected);
    assert_eq!(
        &**first.cluster_name(index).unwrap(),
        "outbound|8080||product-service.my-app.svc.cluster.local"
    );
}

#[test]
fn live_state_outlives_its_generation() {
    let context = context(Role::Sidecar);
    let two = ["127.0.0.1:7001", "127.0.0.1:7002"];
    let first = Snapshot::build(&mut Loader::default(), &documents(&two), &context, None).unwrap();
    let second = Snapshot::build(
        &mut Loader::default(),
        &documents(&two),
        &context,
        Some(&first),
    )
    .unwrap();
    assert_eq!(second.generation, 2);
    let (old, new) = (cluster_of(&first), cluster_of(&second));
    let pick = |snapshot: &Snapshot, cluster| {
        let live = snapshot.live(cluster).unwrap();
        live.pick(&Choice::default(), clock::now(), 0).unwrap()
    };
    assert_eq!(pick(&first, old), 0);
    assert_eq!(pick(&second, new), 1);
}

#[test]
fn an_error_comes_with_its_place() {
    let mut files = documents(&["127.0.0.1:7001"]);
    files.push(SourceFile::new("bad.yaml", "apiVersion: v1\nkind: [\n"));
    let findings = Snapshot::build(
        &mut Loader::default(),
        &files,
        &context(Role::Gateway),
        None,
    )
    .unwrap_err();
    let error = findings.iter().find(|f| f.is_error()).unwrap();
    assert_eq!(&*error.at.file, "bad.yaml");
}
