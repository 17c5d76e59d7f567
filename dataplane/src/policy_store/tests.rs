//! Edits come into force, bad ones do not, and both are told.

mod endpoints;

use std::time::{Duration, Instant};

use policies::source::SourceFile;

use super::*;
use crate::snapshot::Role;
use crate::testing::{Documents, context};

async fn until(store: &PolicyStore, what: &str, done: impl Fn(&PolicyState) -> bool) {
    let mut moved = store.subscribe();
    let wait = async {
        while !done(&store.state()) {
            moved.changed().await.unwrap();
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(5), wait)
            .await
            .is_ok(),
        "{what}"
    );
}

fn documents(port: u16) -> String {
    let mut documents = Documents::new();
    documents.endpoint(([127, 0, 0, 1], port).into(), None);
    documents.yaml()
}

fn edition(name: &str, text: &str) -> Edition {
    vec![SourceFile::new(name, text)].into()
}

#[tokio::test]
async fn a_bad_edit_keeps_the_last_good_generation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mesh.yaml");
    std::fs::write(&path, documents(7001)).unwrap();
    let registry = Registry::new();
    let source = DocumentSource::new(vec![dir.path().to_owned()]);
    let store = PolicyStore::start(source, None, context(Role::Sidecar), &registry).unwrap();
    assert_eq!(store.ready().await.generation, 1);

    std::fs::write(&path, "kind: VirtualService\nspec: [\n").unwrap();
    until(&store, "the bad edit is noticed", |s| s.rejected.is_some()).await;
    assert_eq!(store.snapshot().unwrap().generation, 1);
    let status = serde_json::to_value(store.status()).unwrap();
    assert_eq!(status["generation"], 1);
    let diagnostic = &status["rejected"]["diagnostics"][0];
    assert!(
        diagnostic["file"].as_str().unwrap().ends_with("mesh.yaml"),
        "{status}"
    );
    assert!(diagnostic["line"].as_u64().unwrap() >= 1);
    assert!(status["rejected"]["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(store.0.metrics.rejected.get(), 1);
    assert_eq!(store.0.metrics.rejected_now.get(), 1);
    assert_eq!(store.0.metrics.generation.get(), 1);

    let written = Instant::now();
    std::fs::write(&path, documents(7002)).unwrap();
    until(&store, "the good edit is in force", |s| {
        s.rejected.is_none()
    })
    .await;
    assert!(
        written.elapsed() < Duration::from_secs(1),
        "{:?}",
        written.elapsed()
    );
    assert_eq!(store.snapshot().unwrap().generation, 2);
    assert!(store.status().rejected.is_none());
    assert_eq!(store.0.metrics.rejected_now.get(), 0);

    store.reload();
    until(&store, "a reload makes a generation", |s| {
        s.snapshot.as_ref().is_some_and(|s| s.generation == 3)
    })
    .await;
}

#[tokio::test]
async fn unreadable_documents_are_no_policy() {
    let registry = Registry::new();
    let source = DocumentSource::new(vec!["/nonexistent/policies".into()]);
    let store = PolicyStore::start(source, None, context(Role::Sidecar), &registry).unwrap();
    until(&store, "the failure is told", |s| s.rejected.is_some()).await;
    assert!(store.snapshot().is_none());
    let status = store.status();
    assert_eq!(status.generation, 0);
    assert!(
        status
            .rejected
            .unwrap()
            .error
            .unwrap()
            .contains("/nonexistent/policies")
    );
}

#[test]
fn editions_can_be_applied_by_hand() {
    let registry = Registry::new();
    let store = PolicyStore::fixed(context(Role::Gateway), &registry).unwrap();
    assert!(store.apply(Ok(Edition::default())));
    assert!(!store.apply(Ok(edition("x.yaml", "a: ["))));
    assert_eq!(store.snapshot().unwrap().generation, 1);
    let status = store.status();
    assert_eq!(status.edition, Some(Edition::default().id));
    let refused = status.rejected.unwrap().edition;
    assert_eq!(refused, Some(edition("x.yaml", "a: [").id));
    assert!(store.snapshot().unwrap().listeners.is_some());
    store.reload();
}

#[tokio::test]
async fn a_lost_directory_does_not_lift_every_policy() {
    let registry = Registry::new();
    let store = PolicyStore::fixed(context(Role::Sidecar), &registry).unwrap();
    assert!(
        store.apply(Ok(Edition::default())),
        "a mesh may begin without policies"
    );
    let good = edition("mesh.yaml", &documents(7001));
    assert!(store.apply(Ok(good.clone())));
    assert!(!store.apply(Ok(Edition::default())));
    assert_eq!(store.snapshot().unwrap().generation, 2);
    let status = serde_json::to_value(store.status()).unwrap();
    assert!(
        status["rejected"].to_string().contains("gone at once"),
        "{status}"
    );
    assert!(store.apply(Ok(good)));
}
