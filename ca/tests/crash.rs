//! SIGKILL in the middle of issuing: what was acknowledged is on record, and spent tokens stay spent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

mod harness;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{ORDER, Site, Workload, admin, by_key, by_token};
use identity::enrol::{CaClient, CaTrust};
use identity::join_token::JoinToken;
use identity::key::PrivateKey;
use identity::wire::admin_client::AdminClient;
use identity::wire::{CreateJoinTokenRequest, ListIdentitiesRequest};
use parking_lot::Mutex;
use tonic::transport::Channel;

struct Program {
    child: Child,
    ca: String,
}

impl Program {
    fn start(site: &Site) -> Self {
        let ports = site.path("state/ports.json");
        std::fs::remove_file(&ports).ok();
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis-ca"))
            .arg("--config")
            .arg(site.path("ca.yaml"))
            .arg("--set")
            .arg("log.level=error")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let ports = loop {
            let found = std::fs::read_to_string(&ports).ok();
            let found = found
                .and_then(|text| serde_json::from_str::<BTreeMap<String, SocketAddr>>(&text).ok());
            match found {
                Some(ports) => break ports,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => panic!("the authority did not start"),
            }
        };
        Self {
            child,
            ca: format!("https://{}", ports["grpc"]),
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a client was told: the fingerprints of certificates, and which key spent which token.
#[derive(Default)]
struct Acknowledged {
    fingerprints: Vec<[u8; 32]>,
    spent: Vec<(JoinToken, PrivateKey)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_by_sigkill() {
    let site = Site::new();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    for round in 0..3 {
        let program = Program::start(&site);
        let mut operator = admin(&site.path("admin.sock")).await;
        let trust = CaTrust::Bundle(harness::bundle(&mut operator).await);
        let mut tasks = Vec::new();
        for task in 0..8 {
            let (ca, trust) = (program.ca.clone(), trust.clone());
            let mut operator = operator.clone();
            let acknowledged = Arc::clone(&acknowledged);
            let token = harness::token(&mut operator, "order", 0).await;
            tasks.push(tokio::spawn(async move {
                let client = CaClient::connect(&ca, trust, None).await.ok()?;
                let key = PrivateKey::generate().unwrap();
                if task % 2 == 0 {
                    one_after_another(client, key, token, &acknowledged).await
                } else {
                    token_after_token(client, operator, token, &acknowledged).await
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(700 + 300 * round)).await;
        program.kill();
        for task in tasks {
            task.await.unwrap();
        }
    }

    let told = acknowledged.lock().fingerprints.len();
    assert!(told > 50, "only {told} certificates were issued");

    let program = Program::start(&site);
    let mut operator = admin(&site.path("admin.sock")).await;
    let listed = operator
        .list_identities(ListIdentitiesRequest {})
        .await
        .unwrap()
        .into_inner();
    let order = listed
        .identities
        .iter()
        .find(|identity| identity.spiffe_id == ORDER)
        .unwrap();
    assert!(order.issued_total >= u64::try_from(told).unwrap());
    let trust = CaTrust::Bundle(harness::bundle(&mut operator).await);
    let mut client = CaClient::connect(&program.ca, trust, None).await.unwrap();
    let spent = std::mem::take(&mut acknowledged.lock().spent);
    for (token, key) in spent.iter().rev().take(40).chain(spent.iter().take(40)) {
        let thief = PrivateKey::generate().unwrap();
        assert!(
            client.enrol(by_token(&thief, token)).await.is_err(),
            "a spent token was spent again"
        );
        client.enrol(by_token(key, token)).await.unwrap();
    }
    drop(client);
    program.kill();

    // Every single one, in the store itself.
    let store = open(&site);
    for fingerprint in &acknowledged.lock().fingerprints {
        use ca::store::Store as _;
        assert!(
            store.issued(fingerprint).unwrap().is_some(),
            "an acknowledged certificate is gone"
        );
    }
    eprintln!(
        "{told} acknowledged certificates, {} spent tokens, 3 kills: all on record",
        spent.len()
    );
}

/// One certificate after another, by the enrolment key; ends with the authority.
async fn one_after_another(
    mut client: CaClient,
    key: PrivateKey,
    token: JoinToken,
    told: &Mutex<Acknowledged>,
) -> Option<Infallible> {
    let issued = client.enrol(by_token(&key, &token)).await.ok()?;
    let copy = PrivateKey::from_pem(&key.to_pem()).unwrap();
    told.lock().fingerprints.push(fingerprint(&issued));
    told.lock().spent.push((token, copy));
    loop {
        let issued = client.enrol(by_key(&key)).await.ok()?;
        told.lock().fingerprints.push(fingerprint(&issued));
    }
}

/// One token after another, each spent by a key of its own; ends with the authority.
async fn token_after_token(
    mut client: CaClient,
    mut operator: AdminClient<Channel>,
    mut token: JoinToken,
    told: &Mutex<Acknowledged>,
) -> Option<Infallible> {
    loop {
        let key = PrivateKey::generate().unwrap();
        let issued = client.enrol(by_token(&key, &token)).await.ok()?;
        told.lock().fingerprints.push(fingerprint(&issued));
        let request = CreateJoinTokenRequest {
            name: "order".to_owned(),
            ttl_seconds: 0,
        };
        let next = operator.create_join_token(request).await;
        told.lock().spent.push((token, key));
        token = JoinToken::parse(&next.ok()?.into_inner().token).unwrap();
    }
}

fn fingerprint(issued: &identity::enrol::Issued) -> [u8; 32] {
    let leaf = &issued.svid.chain()[0];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    digest.as_ref().try_into().unwrap()
}

fn open(site: &Site) -> ca::store::sled_store::SledStore {
    ca::store::sled_store::SledStore::open(&site.path("state/store")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_rate_of_issuance_is_shown() {
    let site = Site::new();
    let program = Program::start(&site);
    let mut operator = admin(&site.path("admin.sock")).await;
    let trust = CaTrust::Bundle(harness::bundle(&mut operator).await);
    let token = harness::token(&mut operator, "order", 0).await;
    let key = PrivateKey::generate().unwrap();
    let mut client = CaClient::connect(&program.ca, trust.clone(), None)
        .await
        .unwrap();
    let issued = client.enrol(by_token(&key, &token)).await.unwrap();
    let workload = Arc::new(Workload::new(key, token, issued));
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let end = begun + Duration::from_secs(3);
    let mut tasks = Vec::new();
    for _ in 0..32 {
        let (ca, trust) = (program.ca.clone(), trust.clone());
        let (workload, count) = (Arc::clone(&workload), Arc::clone(&count));
        tasks.push(tokio::spawn(async move {
            let mut client = CaClient::connect(&ca, trust, Some(&workload.material))
                .await
                .unwrap();
            while Instant::now() < end {
                client.renew(workload.issued.svid.id(), None).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let issued = count.load(Ordering::Relaxed);
    let rate = Duration::from_secs(issued).as_secs_f64() / begun.elapsed().as_secs_f64();
    let resident = runtime::process::resident_memory(program.child.id()).unwrap();
    eprintln!(
        "{rate:.0} certificates a second from 32 clients on this machine, {} KiB resident",
        resident / 1024
    );
    assert!(issued > 30);
    program.kill();
}
