//! First starts, restarts, missing parts, profiles and the ceremony.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use super::*;

fn shelf(directory: &std::path::Path, profile: Profile, phrase: Option<&str>) -> Shelf {
    Shelf {
        dir: StateDir::open(directory).unwrap(),
        passphrase: phrase
            .map(|text| Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()),
        profile,
        trust_domain: "cluster.local".to_owned(),
    }
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn laptop(&self) -> Shelf {
        shelf(&self.0.path().join("state"), Profile::Laptop, None)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("state").join(name)
    }
}

fn text(error: AuthorityError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

#[test]
fn the_first_start_makes_all_and_the_second_finds_it() {
    let directory = Directory::new();
    let now = SystemTime::now();
    let first = directory.laptop().authority(History::Fresh, now).unwrap();
    for name in [ROOT, ROOT_KEY, INTERMEDIATE] {
        let mode = std::fs::metadata(directory.file(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let second = directory.laptop().authority(History::Issued, now).unwrap();
    assert_eq!((first.root, first.issuer), (second.root, second.issuer));
}

#[test]
fn the_root_key_may_be_away() {
    let directory = Directory::new();
    let now = SystemTime::now();
    let first = directory.laptop().authority(History::Fresh, now).unwrap();
    std::fs::remove_file(directory.file(ROOT_KEY)).unwrap();
    let second = directory.laptop().authority(History::Issued, now).unwrap();
    assert_eq!(first.issuer, second.issuer);
    // In the last third it still works, and after the end it says what to do.
    let late = now + Duration::from_hours(24 * 300);
    assert_eq!(
        directory
            .laptop()
            .authority(History::Issued, late)
            .unwrap()
            .issuer,
        first.issuer
    );
    let over = now + Duration::from_hours(24 * 400);
    let error = text(
        directory
            .laptop()
            .authority(History::Issued, over)
            .unwrap_err(),
    );
    assert!(error.contains("renew-intermediate --root-dir"), "{error}");
}

#[test]
fn an_old_intermediate_is_renewed_while_the_root_key_is_here() {
    let directory = Directory::new();
    let now = SystemTime::now();
    let first = directory.laptop().authority(History::Fresh, now).unwrap();
    let late = now + Duration::from_hours(24 * 300);
    let second = directory.laptop().authority(History::Issued, late).unwrap();
    assert_ne!(first.issuer, second.issuer);
    assert_eq!(first.root, second.root);
}

#[test]
fn lax_files_are_refused() {
    let directory = Directory::new();
    let now = SystemTime::now();
    directory.laptop().authority(History::Fresh, now).unwrap();
    let lax = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(directory.file(INTERMEDIATE), lax).unwrap();
    let error = text(
        directory
            .laptop()
            .authority(History::Issued, now)
            .unwrap_err(),
    );
    assert!(
        error.contains("intermediate.pem") && error.contains("0640"),
        "{error}"
    );
}

#[test]
fn a_lost_root_is_never_made_anew() {
    let directory = Directory::new();
    let now = SystemTime::now();
    directory.laptop().authority(History::Fresh, now).unwrap();
    std::fs::remove_file(directory.file(ROOT)).unwrap();
    let error = text(
        directory
            .laptop()
            .authority(History::Fresh, now)
            .unwrap_err(),
    );
    assert!(error.contains("restore the file from a backup"), "{error}");
    for name in [ROOT_KEY, INTERMEDIATE] {
        std::fs::remove_file(directory.file(name)).unwrap();
    }
    let error = text(
        directory
            .laptop()
            .authority(History::Issued, now)
            .unwrap_err(),
    );
    assert!(error.contains("restore the file from a backup"), "{error}");
}

#[test]
fn production_refuses_a_root_key_and_plain_keys_and_works_after_the_ceremony() {
    let directory = Directory::new();
    let now = SystemTime::now();
    let path = directory.0.path().join("state");
    let plain = text(
        shelf(&path, Profile::Production, None)
            .authority(History::Fresh, now)
            .unwrap_err(),
    );
    assert!(plain.contains("keys.passphraseFile"), "{plain}");

    let production = shelf(&path, Profile::Production, Some("correct horse battery"));
    let empty = text(production.authority(History::Fresh, now).unwrap_err());
    assert!(empty.contains("makes no root here"), "{empty}");

    let usb = directory.0.path().join("usb");
    let offline = shelf(&usb, Profile::Laptop, Some("another long phrase"));
    production.ceremony(&offline, now).unwrap();
    assert!(!path.join(ROOT_KEY).exists() && usb.join(ROOT_KEY).exists());
    let first = production.authority(History::Fresh, now).unwrap();
    let sealed = std::fs::read_to_string(path.join(INTERMEDIATE)).unwrap();
    assert!(!sealed.contains("BEGIN PRIVATE KEY"));

    // A second ceremony keeps the root and makes another intermediate.
    let second = production.ceremony(&offline, now).unwrap();
    assert_eq!(first.root, second.root);
    assert_ne!(first.issuer, second.issuer);

    std::fs::copy(usb.join(ROOT_KEY), path.join(ROOT_KEY)).unwrap();
    let local = text(production.authority(History::Issued, now).unwrap_err());
    assert!(local.contains("take it offline"), "{local}");
    std::fs::remove_file(path.join(ROOT_KEY)).unwrap();

    let other = shelf(&directory.0.path().join("other"), Profile::Laptop, None);
    let foreign = text(production.ceremony(&other, now).unwrap_err());
    assert!(foreign.contains("another root"), "{foreign}");
}

#[test]
fn production_refuses_an_intermediate_that_is_not_sealed() {
    let directory = Directory::new();
    let now = SystemTime::now();
    directory.laptop().authority(History::Fresh, now).unwrap();
    std::fs::remove_file(directory.file(ROOT_KEY)).unwrap();
    let path = directory.0.path().join("state");
    let production = shelf(&path, Profile::Production, Some("correct horse battery"));
    let error = text(production.authority(History::Issued, now).unwrap_err());
    assert!(error.contains("is not sealed"), "{error}");
}

#[test]
fn the_edge_root_is_kept_until_its_end_comes_near() {
    let directory = Directory::new();
    let now = SystemTime::now();
    let (first, _) = directory.laptop().edge(now).unwrap();
    let (second, _) = directory.laptop().edge(now).unwrap();
    assert_eq!(first, second);
    let (third, _) = directory
        .laptop()
        .edge(now + Duration::from_hours(24 * 800))
        .unwrap();
    assert_ne!(first, third);
}
