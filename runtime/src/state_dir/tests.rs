//! Tests of the state directory on a real file system.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn made_private_and_refused_when_laxer() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/state");
    let state = StateDir::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    state.write_secret("enrolment.key", b"secret").unwrap();
    assert_eq!(mode(&path.join("enrolment.key")), 0o600);
    assert_eq!(
        state.read_secret("enrolment.key").unwrap().unwrap(),
        b"secret"
    );

    chmod(&path.join("enrolment.key"), 0o640);
    let error = state.read_secret("enrolment.key").unwrap_err().to_string();
    assert!(
        error.contains("mode 0640") && error.contains("run: chmod 600 /"),
        "{error}"
    );

    chmod(&path, 0o750);
    let error = StateDir::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("mode 0750") && error.contains("run: chmod 700 /"),
        "{error}"
    );
}

#[test]
fn a_write_replaces_whole_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let state = StateDir::open(&root.path().join("s")).unwrap();
    assert_eq!(state.read_secret("x").unwrap(), None);
    state.write_secret("x", &[1; 100]).unwrap();
    state.write_secret("x", b"2").unwrap();
    assert_eq!(state.read_secret("x").unwrap().unwrap(), b"2");
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 1);
    state.remove("x").unwrap();
    state.remove("x").unwrap();
    assert_eq!(state.read_secret("x").unwrap(), None);
}

#[test]
fn names_do_not_leave_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let state = StateDir::open(&root.path().join("s")).unwrap();
    for name in ["", ".", "..", "../x", "/etc/passwd", "a/b", "a/"] {
        assert!(
            matches!(state.file(name), Err(StateDirError::Name(_))),
            "{name}"
        );
    }
    std::os::unix::fs::symlink("/etc/passwd", state.path().join("link")).unwrap();
    assert!(state.read_secret("link").is_err());
}

#[test]
fn one_process_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let state = StateDir::open(&root.path().join("s")).unwrap();
    assert_eq!(state.lock_holder(), None);
    let lock = state.lock().unwrap();
    assert_eq!(state.lock_holder(), Some(std::process::id()));
    let error = state.lock().unwrap_err().to_string();
    let pid = format!("in use by process {}", std::process::id());
    assert!(error.contains(&pid), "{error}");
    drop(lock);
    drop(state.lock().unwrap());
}

#[test]
fn ports_are_published() {
    let root = tempfile::tempdir().unwrap();
    let state = StateDir::open(&root.path().join("s")).unwrap();
    assert!(state.ports().unwrap().is_empty());
    let ports = BTreeMap::from([(
        "inbound:8080".to_owned(),
        "127.0.0.1:15006".parse().unwrap(),
    )]);
    state.publish_ports(&ports).unwrap();
    assert_eq!(state.ports().unwrap(), ports);
}
