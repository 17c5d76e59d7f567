//! The keeper against a small CA in this process: first enrolment, renewal, a CA that is late, lost, or lies.

use std::{fs, net::SocketAddr, path::Path};

use fake_ca::FakeCa;
use tokio::time::timeout;

use super::*;
use crate::{
    bundle::TrustBundle,
    join_token::JoinToken,
    test_pki::{ORDER, Pki, trust_domain},
};

mod fake_ca;

const LONG: Duration = Duration::from_secs(30);

struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn token_file(&self) -> PathBuf {
        self.directory.path().join("join.token")
    }

    fn write_token(&self, bundle: &TrustBundle) -> String {
        let token = JoinToken::generate(bundle.hash()).unwrap();
        fs::write(self.token_file(), format!("{}\n", *token.expose())).unwrap();
        token.expose().to_string()
    }

    fn config(&self, ca: SocketAddr) -> IdentityConfig {
        IdentityConfig {
            trust_domain: trust_domain(),
            ca: format!("https://{ca}"),
            join_token: Some(self.token_file()),
            state_dir: self.directory.path().join("state"),
            spiffe_id: None,
            ttl: None,
        }
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }
}

async fn until(
    keeper: &IdentityKeeper,
    what: &str,
    wanted: impl Fn(&KeeperStatus) -> bool,
) -> KeeperStatus {
    let mut status = keeper.status();
    let Ok(seen) = timeout(LONG, status.wait_for(wanted)).await else {
        panic!("no {what} within 30 s: {:?}", *keeper.status().borrow());
    };
    seen.unwrap().clone()
}

fn valid(status: &KeeperStatus) -> bool {
    status.state == KeeperState::Valid
}

#[tokio::test]
async fn enrols_then_renews_by_time_and_by_wish() {
    let ca = FakeCa::start(Duration::from_secs(4)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    let first = until(&keeper, "certificate", valid).await;
    assert_eq!(first.spiffe_id.as_deref(), Some(ORDER));
    assert_eq!((first.renewals, first.ca_reachable), (0, true));
    assert!(first.last_error.is_none() && first.bundle_sequence == 1);

    let second = until(&keeper, "renewal", |s| s.renewals == 1).await;
    assert_ne!(first.serial, second.serial);
    assert_eq!(ca.counts(), (1, 1));
    keeper.renew_now();
    until(&keeper, "wished renewal", |s| s.renewals >= 2).await;
    let reader = keeper.material();
    assert!(reader.generation() >= 3);
    assert_eq!(
        reader.trust_generation(),
        1,
        "a renewal is no change of trust"
    );
    let kept = fs::read_to_string(home.state().join("bundle.pem")).unwrap();
    let kept = TrustBundle::from_pem(trust_domain(), 0, &kept).unwrap();
    assert_eq!(kept.hash(), ca.bundle().hash());
    no_key_on_disk_but_the_enrolment_key(&home.state());
}

fn no_key_on_disk_but_the_enrolment_key(state: &Path) {
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        let secret = fs::read_to_string(&path).unwrap().contains("PRIVATE KEY");
        assert_eq!(
            secret,
            path.ends_with("enrolment.key"),
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn waits_for_a_ca_that_is_down_at_start() {
    let pki = Pki::new();
    let address = fake_ca::free_address();
    let home = Home::new();
    home.write_token(&pki.bundle(1));
    let keeper = spawn(home.config(address)).unwrap();
    let waiting = until(&keeper, "complaint", |s| s.last_error.is_some()).await;
    assert_eq!(waiting.state, KeeperState::Waiting);
    assert!(!waiting.ca_reachable);
    let error = waiting.last_error.unwrap();
    assert!(error.contains("cannot be reached"), "{error}");
    let _ca = FakeCa::start_at(address, pki, Duration::from_mins(1)).await;
    until(&keeper, "certificate", valid).await;
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_key_and_token() {
    let ca = FakeCa::start(Duration::from_mins(1)).await;
    ca.lose_replies(2);
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    let status = until(&keeper, "certificate", valid).await;
    assert_eq!(status.renewals, 0);
    // The CA bound the one token to the one key, three times over.
    assert_eq!(ca.counts().0, 3);
}

#[tokio::test]
async fn a_restarted_workload_re_enrols_by_its_key() {
    let ca = FakeCa::start(Duration::from_mins(1)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    drop(keeper);
    fs::remove_file(home.token_file()).unwrap();
    let again = spawn(home.config(ca.address)).unwrap();
    until(&again, "certificate without a token", valid).await;
    assert_eq!(ca.enrolled_by_key(), 1);
}

#[tokio::test]
async fn a_ca_that_goes_away_costs_nothing_until_expiry() {
    let mut ca = FakeCa::start(Duration::from_secs(5)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    let first = until(&keeper, "certificate", valid).await;
    ca.stop().await;
    let failing = until(&keeper, "failed renewal", |s| {
        s.state == KeeperState::Failing
    })
    .await;
    assert_eq!(failing.serial, first.serial);
    assert!(!failing.ca_reachable && failing.last_error.is_some());
    assert!(keeper.material().remaining(SystemTime::now()).is_some());
    until(&keeper, "expiry", |s| s.state == KeeperState::Waiting).await;
    assert!(keeper.material().remaining(SystemTime::now()).is_none());
    // An expired certificate cannot renew; the enrolment key can.
    ca.restart().await;
    until(&keeper, "new certificate", valid).await;
    assert_eq!(ca.enrolled_by_key(), 1);
}

#[tokio::test]
async fn a_refused_certificate_is_replaced_by_the_enrolment_key() {
    let ca = FakeCa::start(Duration::from_mins(1)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    ca.refuse_renewals();
    keeper.renew_now();
    until(&keeper, "new certificate", |s| s.renewals == 1).await;
    assert_eq!(ca.enrolled_by_key(), 1);
}

#[tokio::test]
async fn bundle_changes_arrive_at_once_and_a_removed_root_forces_a_renewal() {
    let ca = FakeCa::start(Duration::from_mins(10)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    let old_root = ca.bundle().roots[0].clone();

    ca.add_root();
    let status = until(&keeper, "wider bundle", |s| s.bundle_sequence == 2).await;
    assert_eq!(status.renewals, 0);
    let mut reader = keeper.material();
    let both = timeout(LONG, async {
        while reader.trust_generation() < 2 {
            reader.changed().await;
        }
        reader.current().unwrap()
    });
    assert_eq!(both.await.unwrap().bundle.roots.len(), 2);

    drop(ca.switch_to_added_root());
    until(&keeper, "renewal under the new root", |s| {
        s.bundle_sequence == 3 && s.renewals >= 1 && valid(s)
    })
    .await;
    let material = keeper.material().current().unwrap();
    assert!(!material.bundle.roots.contains(&old_root));
    let kept = fs::read_to_string(home.state().join("bundle.pem")).unwrap();
    let kept = TrustBundle::from_pem(trust_domain(), 0, &kept).unwrap();
    assert_eq!(kept.hash(), ca.bundle().hash());
}

#[tokio::test]
async fn a_false_ca_never_sees_the_token() {
    let ca = FakeCa::start(Duration::from_mins(1)).await;
    let home = Home::new();
    // The token is of another CA with the same trust domain.
    home.write_token(&Pki::new().bundle(1));
    let keeper = spawn(home.config(ca.address)).unwrap();
    let status = until(&keeper, "complaint", |s| s.last_error.is_some()).await;
    let error = status.last_error.unwrap();
    assert!(
        error.contains("other roots than the join token names"),
        "{error}"
    );
    assert_eq!(ca.counts(), (0, 0));
}

#[tokio::test]
async fn a_rebuilt_ca_is_trusted_by_a_new_token_only() {
    let mut ca = FakeCa::start(Duration::from_mins(10)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    ca.add_root();
    until(&keeper, "wider bundle", |s| s.bundle_sequence == 2).await;
    ca.stop().await;

    let rebuilt = FakeCa::start_at(ca.address, Pki::new(), Duration::from_mins(10)).await;
    keeper.renew_now();
    let failing = until(&keeper, "distrust", |s| {
        s.state == KeeperState::Failing
            && s.last_error
                .as_deref()
                .is_some_and(|e| e.contains("TLS handshake"))
    })
    .await;
    assert_eq!(failing.renewals, 0);
    home.write_token(&rebuilt.bundle());
    keeper.renew_now();
    // Its sequence starts anew, which a fresh token allows.
    until(&keeper, "certificate of the new CA", |s| {
        s.renewals == 1 && s.bundle_sequence == 1
    })
    .await;
}

#[tokio::test]
async fn a_spent_token_does_not_bring_back_a_retired_root() {
    let mut ca = FakeCa::start(Duration::from_mins(10)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    ca.add_root();
    until(&keeper, "wider bundle", |s| s.bundle_sequence == 2).await;
    let retired = ca.switch_to_added_root();
    until(&keeper, "only the new root", |s| {
        s.bundle_sequence == 3 && s.renewals >= 1
    })
    .await;
    ca.stop().await;
    drop(keeper);

    // Whoever holds the retired root answers in the CA's place; the token still names that root.
    let thief = FakeCa::start_at(ca.address, retired, Duration::from_mins(10)).await;
    let again = spawn(home.config(ca.address)).unwrap();
    let status = until(&again, "complaint", |s| s.last_error.is_some()).await;
    assert_eq!(status.state, KeeperState::Waiting);
    assert_eq!(thief.counts(), (0, 0));
}

#[tokio::test]
async fn a_ca_that_forgot_us_takes_a_new_token() {
    let ca = FakeCa::start(Duration::from_mins(10)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    until(&keeper, "certificate", valid).await;
    drop(keeper);
    ca.forget();
    home.write_token(&ca.bundle());
    let again = spawn(home.config(ca.address)).unwrap();
    until(&again, "certificate", valid).await;
    assert_eq!(ca.counts().0, 2);
}

#[tokio::test]
async fn edge_certificates_come_with_their_key() {
    let ca = FakeCa::start(Duration::from_mins(1)).await;
    let home = Home::new();
    home.write_token(&ca.bundle());
    let keeper = spawn(home.config(ca.address)).unwrap();
    let early = keeper.issue_edge(vec!["shop.example".into()], vec![]).await;
    assert!(matches!(early, Err(IdentityError::NoIdentity)));
    until(&keeper, "certificate", valid).await;
    let edge = keeper
        .issue_edge(vec!["shop.example".into()], vec![[127, 0, 0, 1].into()])
        .await
        .unwrap();
    assert_eq!(edge.chain.len(), 2);
    assert!(!format!("{edge:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn what_waiting_cannot_cure_fails_at_once() {
    let home = Home::new();
    let address = fake_ca::free_address();
    let mut config = home.config(address);
    config.ca = "http://ca:1".to_owned();
    assert!(matches!(spawn(config), Err(IdentityError::Address(_))));
    let mut config = home.config(address);
    config.spiffe_id = Some(SpiffeId::parse("spiffe://other.local/a").unwrap());
    assert!(matches!(
        spawn(config),
        Err(IdentityError::ForeignId { .. })
    ));
    fs::create_dir(home.state()).unwrap();
    fs::write(home.state().join("enrolment.key"), "junk").unwrap();
    assert!(matches!(
        spawn(home.config(address)),
        Err(IdentityError::State(_))
    ));

    let lone = Home::new();
    let mut config = lone.config(address);
    config.join_token = None;
    let keeper = spawn(config).unwrap();
    let status = until(&keeper, "complaint", |s| s.last_error.is_some()).await;
    assert!(status.last_error.unwrap().contains("no join token"));
}
