//! What happens between a request and its answer, on a store that can be broken.

use identity::join_token::JoinToken;
use prometheus::Registry as Prometheus;

use super::*;
use crate::authority::tests::authority;
use crate::store::memory::MemoryStore;

struct Office {
    issuance: Issuance,
    store: Arc<MemoryStore>,
    key: PrivateKey,
    token: JoinToken,
}

const IDS: [&str; 2] = [
    "spiffe://cluster.local/ns/a/sa/one",
    "spiffe://cluster.local/ns/a/sa/two",
];

impl Office {
    async fn open(ids: &[&str]) -> Self {
        let now = SystemTime::now();
        let store = Arc::new(MemoryStore::default());
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let authority = authority(now);
        let bundle = crate::bundle::compose(&*store, &trust_domain, &authority.root, &[])
            .await
            .unwrap();
        let hash = bundle.hash();
        let many = Rate {
            per_second: 1000.0,
            burst: 1000.0,
        };
        let for_trait: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
        let issuance = Issuance::new(Parts {
            trust_domain,
            lifetimes: Lifetimes {
                default: Duration::from_hours(1),
                max: Duration::from_hours(24),
            },
            limits: Limits {
                per_address: many,
                per_caller: many,
                concurrent: 8,
            },
            authority,
            edge: None,
            store: for_trait,
            bundle: BundlePublisher::new(bundle),
            metrics: Metrics::register(&Prometheus::new()).unwrap(),
        });
        let entries = ids.iter().map(|id| Entry {
            id: SpiffeId::parse(id).unwrap(),
            selectors: ["join_token:one".to_owned()].into(),
            ttl: Some(Duration::from_mins(30)),
            source: "entries.yaml:1:1".into(),
        });
        issuance.put_entries(Registry {
            generation: 1,
            entries: entries.collect(),
            problems: Vec::new(),
            ..Registry::default()
        });
        let token = crate::token::create(&*store, "one", 0, hash, now)
            .await
            .unwrap()
            .token;
        Self {
            issuance,
            store,
            key: PrivateKey::generate().unwrap(),
            token,
        }
    }

    async fn enrol(&self, id: &str, ttl_seconds: u32) -> Result<IssueResponse, Refusal> {
        let csr = PrivateKey::generate().unwrap().csr().unwrap();
        let join_token = self.token.expose().to_string();
        let message = identity::proof::enrol_message(&csr, &join_token);
        let request = EnrolRequest {
            csr,
            join_token,
            enrolment_key: self.key.public_spki().to_vec(),
            proof: self.key.sign(&message).unwrap(),
            spiffe_id: id.to_owned(),
            ttl_seconds,
        };
        self.issuance
            .enrol(&request, &Caller::default(), SystemTime::now())
            .await
    }
}

#[tokio::test]
async fn without_a_durable_record_nothing_is_signed_out() {
    let office = Office::open(&IDS[..1]).await;
    office.store.break_down();
    let refusal = office.enrol("", 0).await.unwrap_err();
    assert_eq!(refusal.code(), "store");
    assert!(refusal.is_ours());
    assert_eq!(refusal.status("1").code(), tonic::Code::Unavailable);
    assert_eq!(office.store.totals().issued, 0);
}

#[tokio::test]
async fn of_several_identities_one_must_be_named() {
    let office = Office::open(&IDS).await;
    assert_eq!(office.enrol("", 0).await.unwrap_err().code(), "ambiguous");
    assert_eq!(
        office.enrol("spiffe://x/y", 0).await.unwrap_err().code(),
        "not_entitled"
    );
    office.enrol(IDS[1], 0).await.unwrap();
    assert_eq!(office.store.identities().unwrap()[0].spiffe_id, IDS[1]);
}

#[tokio::test]
async fn the_entry_bounds_the_lifetime() {
    let office = Office::open(&IDS[..1]).await;
    for (asked, granted) in [(0, 1800), (60, 60), (86_400, 1800)] {
        office.enrol("", asked).await.unwrap();
        let identity = office.store.identities().unwrap().remove(0);
        assert_eq!(
            identity.not_after - identity.not_before,
            granted + 60,
            "asked for {asked}"
        );
    }
}

#[tokio::test]
async fn what_callers_are_told_has_no_reasons_in_it() {
    let office = Office::open(&[]).await;
    let refusal = office.enrol("", 0).await.unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("there are no registration entries"),
        "{refusal}"
    );
    let status = refusal.status("4711");
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "the caller may not have this (request 4711; the authority's log has the reason)"
    );
}
