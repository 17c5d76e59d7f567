//! The command line without a mesh: help, exit codes, what to type next.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

mod laptop;

use laptop::{portcullis, stdout};

#[test]
fn help_shows_every_verb_with_examples() {
    let help = stdout(portcullis().arg("--help").output().unwrap());
    for verb in [
        "up",
        "down",
        "status",
        "env",
        "run",
        "schema",
        "route",
        "get",
        "apply",
        "delete",
        "version",
        "completion",
    ] {
        assert!(
            help.contains(&format!("  {verb} ")),
            "{verb} is missing:\n{help}"
        );
        let own = stdout(portcullis().args([verb, "--help"]).output().unwrap());
        assert!(own.contains("Example"), "{own}");
    }
    assert!(
        !help.contains("demo  "),
        "hidden verbs stay hidden:\n{help}"
    );
}

#[test]
fn without_a_mesh_verbs_exit_with_3_and_say_what_to_type() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["env"][..], &["status"], &["run", "--name", "a"]] {
        let program: &[&str] = if args[0] == "run" {
            &["--", "true"]
        } else {
            &[]
        };
        let output = portcullis()
            .args(args)
            .arg("--dir")
            .arg(dir.path())
            .args(program)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(
            output.stdout.is_empty(),
            "`eval` must get nothing: {args:?}"
        );
        let words = String::from_utf8(output.stderr).unwrap();
        let typed = format!("portcullis up --dir {}", dir.path().display());
        assert!(
            words.contains("no mesh runs") && words.contains(&typed),
            "{words}"
        );
    }
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["frobnicate"][..],
        &["up", "--http", "70000"],
        &["run", "--name", "a"],
        &["run", "--name", "Not A Name", "--", "true"],
        &["run", "--name", "a", "--label", "nonsense", "--", "true"],
        &["run", "--name", "a", "--port", "0", "--", "true"],
        &["completion", "tcsh"],
    ] {
        let output = portcullis().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn version_and_completion_need_no_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let json = stdout(
        portcullis()
            .args(["version", "-o", "json", "--dir"])
            .arg(dir.path())
            .output()
            .unwrap(),
    );
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(portcullis().args(["completion", shell]).output().unwrap());
        assert!(
            script.contains("portcullis") && script.contains("status"),
            "{shell}"
        );
    }
}

#[test]
fn down_without_a_mesh_is_fine_and_purges_only_what_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    stdout(
        portcullis()
            .args(["down", "--dir"])
            .arg(dir.path())
            .output()
            .unwrap(),
    );
    std::fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    let purge = portcullis()
        .args(["down", "--purge", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(purge.status.code(), Some(1));
    assert!(dir.path().join("mine.txt").exists());
}

#[test]
fn schemas_are_printed_by_any_name_of_a_kind() {
    let schema = |args: &[&str]| {
        let output = portcullis().arg("schema").args(args).output().unwrap();
        serde_json::from_str::<serde_json::Value>(&stdout(output)).unwrap()
    };
    let one = schema(&["VirtualService"]);
    assert_eq!(one, schema(&["vs", "-o", "json"]));
    assert_eq!(one["title"], "VirtualService");
    let all = schema(&[]);
    let spec = &one["properties"]["spec"];
    assert_eq!(
        &all["definitions"]["VirtualService"]["properties"]["spec"],
        spec
    );
    let list = stdout(portcullis().args(["schema", "--list"]).output().unwrap());
    assert!(list.contains("AuthorizationPolicy"), "{list}");

    let unknown = portcullis().args(["schema", "Pod"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stdout.is_empty());
}
