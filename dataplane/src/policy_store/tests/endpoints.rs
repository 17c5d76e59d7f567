//! Endpoints that no file declares: they come into force beside the files and never spoil them.

use std::net::Ipv4Addr;

use super::*;
use crate::registry::{self, Instance, InstanceName, InstancePort, InstanceState};

/// A source that says what the test tells it.
#[derive(Debug)]
struct Told(Published<Option<Arc<[SourceFile]>>>);

impl Told {
    fn tell(&self, instances: &[Instance]) {
        self.0.store(Arc::new(Some(registry::documents(instances))));
    }
}

impl EndpointSource for Told {
    fn documents(&self) -> Option<Arc<[SourceFile]>> {
        Option::clone(&self.0.load())
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.subscribe()
    }
}

fn instance(name: &str, app: &str, state: InstanceState) -> Instance {
    Instance {
        name: InstanceName {
            namespace: "my-app".to_owned(),
            name: name.to_owned(),
        },
        service_account: app.to_owned(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        address: Ipv4Addr::LOCALHOST.into(),
        ports: vec![InstancePort {
            name: "http".to_owned(),
            number: 80,
            protocol: "HTTP".to_owned(),
            listens_at: 15_006,
        }],
        locality: None,
        state,
        reason: String::new(),
        since: 0,
    }
}

fn store(told: &Arc<Told>) -> PolicyStore {
    let source: Arc<dyn EndpointSource> = Arc::<Told>::clone(told);
    PolicyStore::new(context(Role::Sidecar), Some(source), None, &Registry::new()).unwrap()
}

fn endpoints(store: &PolicyStore, host: &str) -> Option<usize> {
    let snapshot = store.snapshot().unwrap();
    let mut clusters = snapshot.clusters.iter();
    let cluster = clusters.find(|(_, cluster)| *cluster.service.host == *host)?;
    Some(cluster.1.endpoints.len())
}

const BILLING: &str = "billing.my-app.svc.cluster.local";

#[test]
fn what_is_found_is_in_force_beside_the_files_and_no_part_of_the_edition() {
    let told = Arc::new(Told(Published::new(None)));
    let store = store(&told);
    let files = edition("mesh.yaml", &documents(7001));
    assert!(store.apply(Ok(files.clone())));
    assert_eq!(endpoints(&store, BILLING), None);
    told.tell(&[
        instance("billing", "billing", InstanceState::Ready),
        instance("billing-2", "billing", InstanceState::Ready),
    ]);
    assert!(store.rebuild());
    assert_eq!(endpoints(&store, BILLING), Some(2));
    told.tell(&[
        instance("billing", "billing", InstanceState::Ready),
        instance("billing-2", "billing", InstanceState::Gone),
    ]);
    assert!(store.rebuild());
    assert_eq!(endpoints(&store, BILLING), Some(1));
    let status = store.status();
    assert_eq!((status.edition, status.generation), (Some(files.id), 3));
}

#[test]
fn what_a_file_declares_is_not_overruled() {
    let told = Arc::new(Told(Published::new(None)));
    let store = store(&told);
    let workload = "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
         metadata: {name: billing, namespace: my-app}\n\
         spec: {address: 10.0.0.7, ports: {http: 1}, labels: {app: billing}, serviceAccount: billing}\n";
    let files = edition("mesh.yaml", &(documents(7001) + workload));
    // It says that it is an instance of a service that a file declares with endpoints of its own.
    told.tell(&[
        instance("billing", "billing", InstanceState::Ready),
        instance("product", "product-service", InstanceState::Ready),
    ]);
    assert!(store.apply(Ok(files)));
    assert_eq!(
        endpoints(&store, "product-service.my-app.svc.cluster.local"),
        Some(1)
    );
    let snapshot = store.snapshot().unwrap();
    let billing = snapshot
        .clusters
        .iter()
        .find(|(_, c)| *c.service.host == *BILLING);
    let endpoints = &billing.unwrap().1.endpoints;
    assert_eq!(endpoints.len(), 1);
    assert!(format!("{:?}", endpoints[0].address).contains("10.0.0.7"));
}

#[test]
fn a_refused_edit_keeps_no_endpoint_out_and_may_be_good_with_the_next() {
    let told = Arc::new(Told(Published::new(None)));
    let store = store(&told);
    assert!(store.apply(Ok(edition("mesh.yaml", &documents(7001)))));
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {name: to-billing, namespace: my-app}\n\
         spec: {hosts: [product-service], http: [{route: [{destination: {host: billing}}]}]}\n";
    let edited = edition("mesh.yaml", &(documents(7001) + route));
    assert!(!store.apply(Ok(edited.clone())), "nobody declares billing");

    told.tell(&[instance("other", "other", InstanceState::Ready)]);
    assert!(store.rebuild());
    assert_eq!(endpoints(&store, "other.my-app.svc.cluster.local"), Some(1));
    assert!(
        store.status().rejected.is_some(),
        "the edit is still refused"
    );

    told.tell(&[instance("billing", "billing", InstanceState::Unready)]);
    assert!(store.rebuild());
    let status = store.status();
    assert!(status.rejected.is_none());
    assert_eq!(status.edition, Some(edited.id));
}

#[tokio::test]
async fn a_change_is_in_force_within_moments() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mesh.yaml"), documents(7001)).unwrap();
    let told = Arc::new(Told(Published::new(None)));
    told.tell(&[]);
    let source: Arc<dyn EndpointSource> = Arc::<Told>::clone(&told);
    let files = DocumentSource::new(vec![dir.path().to_owned()]);
    let context = context(Role::Sidecar);
    let store = PolicyStore::start(files, Some(source), context, &Registry::new()).unwrap();
    store.ready().await;
    let begun = Instant::now();
    told.tell(&[instance("billing", "billing", InstanceState::Ready)]);
    until(&store, "the endpoint is in force", |state| {
        state
            .endpoints
            .as_ref()
            .is_some_and(|found| found.len() == 2)
    })
    .await;
    assert_eq!(endpoints(&store, BILLING), Some(1));
    println!("in force after {:?}", begun.elapsed());
}
