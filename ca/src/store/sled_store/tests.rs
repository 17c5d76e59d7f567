//! Durability, one-use tokens, damage.

use std::sync::Arc;
use std::time::Duration;

use super::*;

fn issued(n: u64, id: &str) -> Issued {
    Issued {
        at: n,
        spiffe_id: id.to_owned(),
        serial: format!("{n:034x}"),
        not_after: 1000 + n,
        fingerprint: crate::csr::sha256(&n.to_be_bytes()).to_vec(),
        method: Method::JoinToken.into(),
        ..Issued::default()
    }
}

fn admission(key: u8, token: Option<[u8; 32]>) -> Admission {
    Admission {
        key_hash: [key; 32],
        enrolment: Enrolment {
            token_name: "order".to_owned(),
            at: 1,
        },
        spend: token,
    }
}

fn token() -> JoinTokenRecord {
    JoinTokenRecord {
        name: "order".to_owned(),
        expires: 2000,
        ..JoinTokenRecord::default()
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// sled gives its lock back a moment after the last handle is dropped.
    fn open(&self) -> Result<SledStore, StoreError> {
        for _ in 0..100 {
            match SledStore::open(&self.path()) {
                Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(20)),
                other => return other,
            }
        }
        SledStore::open(&self.path())
    }
}

#[tokio::test]
async fn what_was_recorded_is_there_after_reopening() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.record_token([7; 32], token()).await.unwrap();
    store
        .record_issued(issued(1, "spiffe://a/b"), Some(admission(1, Some([7; 32]))))
        .await
        .unwrap();
    store
        .record_issued(issued(2, "spiffe://a/b"), None)
        .await
        .unwrap();
    store
        .record_refused(Refused {
            code: "proof".to_owned(),
            ..Refused::default()
        })
        .await
        .unwrap();
    assert_eq!(store.bundle_sequence([1; 32]).await.unwrap(), 1);
    drop(store);
    let store = place.open().unwrap();
    assert_eq!(
        store.totals(),
        Totals {
            issued: 2,
            refused: 1
        }
    );
    assert_eq!(
        store.token(&[7; 32]).unwrap().unwrap().spend_by(&[1; 32]),
        Spend::SpentByYou
    );
    assert_eq!(
        store.enrolment(&[1; 32]).unwrap().unwrap().token_name,
        "order"
    );
    assert_eq!(store.bundle_sequence([1; 32]).await.unwrap(), 1);
    assert_eq!(store.bundle_sequence([2; 32]).await.unwrap(), 2);
    let identities = store.identities().unwrap();
    assert_eq!((identities.len(), identities[0].issued_total), (1, 2));
    assert_eq!(store.refusals(10).unwrap()[0].code, "proof");
    let fingerprint = crate::csr::sha256(&1_u64.to_be_bytes());
    assert_eq!(store.issued(&fingerprint).unwrap().unwrap().at, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_keys_that_spend_one_token_at_once_one_wins() {
    let place = Place::new();
    let store = Arc::new(place.open().unwrap());
    store.record_token([7; 32], token()).await.unwrap();
    let tries = (0..32_u8).map(|key| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let issued = issued(u64::from(key), "spiffe://a/b");
            store
                .record_issued(issued, Some(admission(key, Some([7; 32]))))
                .await
        })
    });
    let mut won = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.unwrap() {
            Ok(()) => won += 1,
            Err(StoreError::TokenTaken) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((won, store.totals().issued), (1, 1));
}

#[tokio::test]
async fn refusals_are_bounded_and_expired_records_forgotten() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.record_token([7; 32], token()).await.unwrap();
    for n in 0..20 {
        store
            .record_issued(issued(n, "spiffe://a/b"), None)
            .await
            .unwrap();
    }
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1010);
    assert_eq!(store.forget_expired(before).await.unwrap(), 10);
    assert!(
        store
            .issued(&crate::csr::sha256(&9_u64.to_be_bytes()))
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .issued(&crate::csr::sha256(&10_u64.to_be_bytes()))
            .unwrap()
            .is_some()
    );
    assert!(store.token(&[7; 32]).unwrap().is_some());
    assert_eq!(store.totals().issued, 20);
}

#[tokio::test]
async fn a_removed_store_is_not_taken_for_a_new_one() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.record_token([7; 32], token()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    std::thread::sleep(Duration::from_millis(200));
    std::fs::remove_dir_all(place.path()).unwrap();
    let error = place.open().unwrap_err().to_string();
    assert!(
        error.contains("its files are gone") && error.contains("never rebuilt"),
        "{error}"
    );
}

#[tokio::test]
async fn an_older_copy_is_noticed() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.close().await.unwrap();
    drop(store);
    std::thread::sleep(Duration::from_millis(200));
    let old = place.0.path().join("old");
    copy(&place.path(), &old);
    let store = place.open().unwrap();
    store.record_token([7; 32], token()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    std::thread::sleep(Duration::from_millis(200));
    std::fs::remove_dir_all(place.path()).unwrap();
    std::fs::rename(&old, place.path()).unwrap();
    let error = place.open().unwrap_err().to_string();
    assert!(
        error.contains("0 changes where 1 were on disk before"),
        "{error}"
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn damaged_files_stop_the_start_with_an_explanation() {
    let place = Place::new();
    let store = place.open().unwrap();
    for n in 0..200 {
        store
            .record_issued(issued(n, "spiffe://a/b"), None)
            .await
            .unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    std::thread::sleep(Duration::from_millis(200));
    let db = place.path().join("db");
    let whole = std::fs::read(&db).unwrap();
    let cases: [(&str, Vec<u8>); 4] = [
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("noise", whole.iter().map(|byte| byte ^ 0x5a).collect()),
        (
            "a hole",
            whole
                .iter()
                .enumerate()
                .map(|(n, b)| if n % 97 < 20 { 0 } else { *b })
                .collect(),
        ),
    ];
    for (name, bytes) in cases {
        std::fs::write(&db, bytes).unwrap();
        for snapshot in std::fs::read_dir(place.path()).unwrap().flatten() {
            if snapshot.file_name().to_string_lossy().starts_with("snap") {
                std::fs::remove_file(snapshot.path()).unwrap();
            }
        }
        let error = place.open().map(|store| store.totals()).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{name}: {error:?}"
        );
    }
}
