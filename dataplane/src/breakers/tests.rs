//! What operators see of breakers, over a real generation of documents.

use std::time::Duration;

use http::Method;
use policies::resilience::{Moment, TryOutcome};
use policies::source::SourceFile;
use prometheus::Registry;
use runtime::admin::AdminBody;

use super::*;
use crate::snapshot::Role;
use crate::testing::{Documents, context};

const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: server, namespace: my-app}
spec:
  host: product-service
  trafficPolicy:
    connectionPool: {http: {http2MaxRequests: 1}}
    outlierDetection: {consecutive5xxErrors: 2, baseEjectionTime: 60s, maxEjectionPercent: 100}
";

fn store(registry: &Registry) -> PolicyStore {
    let mut documents = Documents::new();
    documents.endpoint(([127, 0, 0, 1], 7001).into(), None);
    documents.endpoint(([127, 0, 0, 1], 7002).into(), None);
    let store = PolicyStore::fixed(context(Role::Sidecar), registry).unwrap();
    let files = vec![
        SourceFile::new("mesh.yaml", documents.yaml()),
        SourceFile::new("rule.yaml", RULE),
    ];
    assert!(
        store.apply(Ok(files.into())),
        "{:?}",
        store.state().rejected
    );
    store
}

fn asking(query: &str) -> AdminRequest {
    AdminRequest {
        method: Method::GET,
        path: "/breakers".to_owned(),
        query: Some(query.to_owned()),
        body: bytes::Bytes::new(),
    }
}

fn text(answer: &AdminResponse) -> String {
    match &answer.body {
        AdminBody::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        AdminBody::Streamed(writing) => {
            let mut bytes = Vec::new();
            writing(&mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        }
    }
}

fn page(store: &PolicyStore, query: &str) -> Breakers {
    serde_json::from_str(&text(&breakers(store, &asking(query)))).unwrap()
}

fn fail(store: &PolicyStore, position: usize, now: Moment) {
    let snapshot = store.snapshot().unwrap();
    let (_, live) = at(&snapshot, 0).unwrap();
    for _ in 0..2 {
        live.begin(position, now)
            .report(TryOutcome::ConnectFailure, now);
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_is_shown_counted_and_reset() {
    let registry = Registry::new();
    let store = store(&registry);
    register(&store, &registry).unwrap();
    let number = |name: &str, endpoint: &str| -> Option<f64> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let mut found = family.get_metric().iter();
        let metric = found.find(|metric| {
            let mut labels = metric.get_label().iter();
            endpoint.is_empty() || labels.any(|label| label.value() == endpoint)
        })?;
        Some(metric.get_gauge().get_value() + metric.get_counter().get_value())
    };
    // Another test's thread may have started the process's clock a moment after this test's time stood still.
    clock::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    fail(&store, 0, clock::now());
    tokio::time::advance(Duration::from_secs(20)).await;
    let shown = page(&store, "");
    let [cluster] = &*shown.clusters else {
        panic!("{shown:?}")
    };
    assert_eq!((cluster.breaker.as_str(), cluster.active), ("closed", 0));
    assert_eq!(cluster.max_requests, Some(1));
    assert_eq!(cluster.detection.as_ref().unwrap().may_eject, 2);
    let [one, two] = &*cluster.endpoints else {
        panic!("{cluster:?}")
    };
    assert_eq!(one.breaker, "open");
    assert_eq!(one.remaining, Some(40_000));
    assert_eq!(one.reason.as_deref(), Some("consecutive-5xx"));
    assert_eq!((two.breaker.as_str(), two.remaining), ("closed", None));
    assert_eq!(cluster.transitions.len(), 1);
    assert_eq!(cluster.transitions[0].ago, 20_000);
    assert_eq!(cluster.transitions[0].time, Some(60_000));
    assert_eq!(
        number("portcullis_breaker_state", "127.0.0.1:7001"),
        Some(2.0)
    );
    assert_eq!(number("portcullis_breaker_service_state", ""), Some(0.0));
    fail(&store, 1, clock::now());
    assert_eq!(number("portcullis_breaker_service_state", ""), Some(2.0));
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(
        number("portcullis_breaker_state", "127.0.0.1:7001"),
        Some(1.0)
    );
    assert_eq!(
        number("portcullis_breaker_ejections_total", "127.0.0.1:7001"),
        Some(1.0)
    );

    let name = cluster.cluster.replace('|', "%7C");
    assert!(
        page(&store, "cluster=outbound%7C1%7C%7Cno")
            .clusters
            .is_empty()
    );
    assert_eq!(page(&store, &format!("cluster={name}")).clusters.len(), 1);
    let one = close(
        &store,
        &asking(&format!("cluster={name}&endpoint=127.0.0.1:7001")),
    );
    assert_eq!(
        serde_json::from_str::<Reset>(&text(&one)).unwrap(),
        Reset { asked: 1, reset: 1 }
    );
    let all = close(&store, &asking(&format!("cluster={name}")));
    assert_eq!(
        serde_json::from_str::<Reset>(&text(&all)).unwrap(),
        Reset { asked: 2, reset: 1 }
    );
    assert_eq!(number("portcullis_breaker_service_state", ""), Some(0.0));
    assert_eq!(close(&store, &asking("")).status, StatusCode::BAD_REQUEST);
    assert_eq!(
        close(&store, &asking("cluster=x")).status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_turned_away_is_counted() {
    let store = store(&Registry::new());
    let snapshot = store.snapshot().unwrap();
    let (_, live) = at(&snapshot, 0).unwrap();
    let admitted = live.admit().unwrap();
    assert!(live.admit().is_err());
    let shown = page(&store, "");
    assert_eq!(
        (shown.clusters[0].active, shown.clusters[0].overflows),
        (1, 1)
    );
    drop(admitted);
}
