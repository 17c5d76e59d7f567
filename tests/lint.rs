//! `portcullis lint` and `portcullis explain-code` end to end: formats, exit codes, fixes, the seeds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const GOOD: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
                    metadata: {name: default}\nspec:\n  mtls: {mode: STRICT} # all\n";

fn portcullis() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env_remove("NO_COLOR");
    command
}

fn lint(args: &[&str], paths: &[&Path]) -> Output {
    portcullis()
        .arg("lint")
        .args(args)
        .args(paths)
        .output()
        .unwrap()
}

/// Lints standard input.
fn piped(args: &[&str], text: &[u8]) -> Output {
    let mut child = portcullis()
        .arg("lint")
        .args(args)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn codes(answer: &Value) -> Vec<String> {
    let findings = answer["diagnostics"].as_array().unwrap();
    let code = |finding: &Value| finding["code"].as_str().unwrap().to_owned();
    findings.iter().map(code).collect()
}

fn corpus(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(path)
}

fn file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_good_file_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "good.yaml", GOOD);
    let output = lint(&["--closed", "--deny-warnings"], &[&path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output), "no findings in 1 document\n");
    let answer = json(&lint(&["-o", "json"], &[&path]));
    assert_eq!(
        answer,
        serde_json::json!({ "documents": 1, "diagnostics": [] })
    );
}

#[test]
fn an_error_is_shown_as_rustc_does_and_exits_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "bad.yaml", &GOOD.replace("STRICT", "STRIKT"));
    let output = lint(&[], &[&path]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    for part in [
        "error[PC0110]: `STRIKT` is not one of",
        "bad.yaml:5:16",
        "5 |   mtls: {mode: STRIKT} # all",
        "^^^^^^ spec.mtls.mode",
        "help: did you mean `STRICT`?",
        "5 +   mtls: {mode: STRICT} # all",
        "1 error in 1 document; 1 can be fixed with --fix",
    ] {
        assert!(shown.contains(part), "{part:?} is missing:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn json_has_exactly_the_promised_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "bad.yaml", &GOOD.replace("mode", "mod"));
    let answer = json(&lint(&["-o", "json"], &[&path]));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&answer), ["diagnostics", "documents"]);
    let finding = &answer["diagnostics"][0];
    assert_eq!(
        keys(finding),
        [
            "code", "column", "file", "help", "line", "message", "path", "severity"
        ]
    );
    assert_eq!(finding["code"], "PC0107");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["file"], path.to_str().unwrap());
    assert_eq!(
        (&finding["line"], &finding["column"]),
        (&5.into(), &10.into())
    );
    assert_eq!(finding["path"], "spec.mtls.mod");
}

#[test]
fn sarif_has_the_structure_of_its_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "a b.yaml", &GOOD.replace("mode", "mod"));
    let output = lint(&["-o", "sarif"], &[&path]);
    assert_eq!(output.status.code(), Some(1));
    let log = json(&output);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "portcullis");
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        let rule = &driver["rules"][index];
        assert_eq!(rule["id"], result["ruleId"]);
        for description in ["shortDescription", "fullDescription"] {
            assert!(!rule[description]["text"].as_str().unwrap().is_empty());
        }
        assert!(rule.get("helpUri").is_none());
        assert_eq!(result["level"], "error");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.starts_with("file:///") && uri.ends_with("/a%20b.yaml"),
            "{uri}"
        );
        let expected =
            serde_json::json!({ "startLine": 5, "startColumn": 10, "endLine": 5, "endColumn": 13 });
        assert_eq!(place["region"], expected);
        let change = &result["fixes"][0]["artifactChanges"][0];
        assert_eq!(change["artifactLocation"]["uri"], uri);
        assert_eq!(change["replacements"][0]["deletedRegion"], expected);
        assert_eq!(change["replacements"][0]["insertedContent"]["text"], "mode");
    }
}

#[test]
fn fix_writes_what_has_one_cure_and_keeps_mode_links_and_comments() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = format!("// head\n{}", GOOD.replace("mode: STRICT", "mod: strict"));
    let path = file(dir.path(), "real.yaml", &wrong);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.yaml");
    std::os::unix::fs::symlink("real.yaml", &link).unwrap();
    let output = lint(&["--fix"], &[&link]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        text(&output),
        "no findings in 1 document; 3 problems fixed\n"
    );
    let after = std::fs::read_to_string(&path).unwrap();
    assert_eq!(after, format!("# head\n{GOOD}"));
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing is left behind"
    );
    // A second time there is nothing to do.
    let output = lint(&["--fix"], &[&link]);
    assert_eq!(
        text(&output),
        "no findings in 1 document; 0 problems fixed\n"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
}

#[test]
fn what_has_no_cure_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = GOOD.replace("mode: STRICT", "patience: 1");
    let path = file(dir.path(), "a.yaml", &wrong);
    let output = lint(&["--fix"], &[&path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong);
}

#[test]
fn standard_input_is_linted_and_fixed() {
    let output = piped(&["-o", "json"], GOOD.replace("mode", "mod").as_bytes());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["diagnostics"][0]["file"], "<stdin>");
    let output = piped(&["--fix"], GOOD.replace("mode", "mod").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output), GOOD);
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("1 problem fixed"), "{words}");
}

#[test]
fn directories_are_read_as_processes_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let bad = GOOD.replace("mode", "mod");
    file(dir.path(), "b/deep/two.yml", &bad);
    file(dir.path(), "a.yaml", &bad);
    file(dir.path(), ".hidden.yaml", &bad);
    file(dir.path(), ".git/x.yaml", &bad);
    file(dir.path(), "notes.txt", "no: [yaml");
    let output = portcullis()
        .args(["lint", "-o", "json"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let answer = json(&output);
    let files: Vec<&str> = answer["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["./a.yaml", "./b/deep/two.yml"]);
    assert_eq!(answer["documents"], 2);
}

#[test]
fn a_reference_to_elsewhere_is_a_warning_unless_the_set_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let route = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n\
                 spec: {hosts: [a], http: [{timeout: 1s, route: [{destination: {host: elsewhere}}]}]}\n";
    let path = file(dir.path(), "a.yaml", route);
    let open = lint(&["-o", "json"], &[&path]);
    assert_eq!(open.status.code(), Some(0), "{}", text(&open));
    let answer = json(&open);
    assert!(codes(&answer).contains(&"PC0301".to_owned()), "{answer}");
    assert!(
        answer["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .all(|f| f["severity"] != "error")
    );
    assert_eq!(lint(&["--deny-warnings"], &[&path]).status.code(), Some(1));
    assert_eq!(lint(&["--closed"], &[&path]).status.code(), Some(1));
}

#[test]
fn registration_entries_are_judged_as_the_authority_does() {
    let entry = "apiVersion: portcullis.dev/v1\nkind: RegistrationEntry\nmetadata: {name: a}\nspec:\n\
                 \x20 spiffeID: spiffe://example.org/ns/a/sa/b\n  selectors: [\"join_token:a\"]\n";
    let output = piped(&["-o", "json"], entry.as_bytes());
    assert_eq!(codes(&json(&output)), ["PC0501"]);
    let output = piped(
        &["-o", "json", "--trust-domain", "example.org"],
        entry.as_bytes(),
    );
    assert_eq!(codes(&json(&output)), Vec::<String>::new());
}

#[test]
fn what_is_no_text_is_a_finding_and_what_is_not_there_is_usage() {
    let output = piped(&["-o", "json"], b"# caf\xe9\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(codes(&json(&output)), ["PC0006"]);
    let output = piped(&[], b"\xff\xfe\x00");
    assert!(text(&output).contains("PC0006"), "{output:?}");
    let missing = lint(&[], &[Path::new("/nowhere/at/all.yaml")]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(missing.stdout.is_empty());
    for wrong in [
        &["--nonsense"][..],
        &["-o", "xml"],
        &["--trust-domain", "A B"],
    ] {
        assert_eq!(lint(wrong, &[]).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(
        piped(&[], b"").status.code(),
        Some(0),
        "nothing is no mistake"
    );
}

#[test]
fn the_seeds_are_accepted_with_the_services_that_they_name() {
    let both = [corpus("seeds"), corpus("services")];
    let paths: Vec<&Path> = both.iter().map(PathBuf::as_path).collect();
    let output = lint(&["--closed", "-o", "json"], &paths);
    let answer = json(&output);
    assert_eq!(output.status.code(), Some(0), "{answer:#}");
    let found = codes(&answer);
    // C3 and C8: the old names are read, and said to be old.
    for code in ["PC0220", "PC0221"] {
        assert_eq!(
            found.iter().filter(|found| *found == code).count(),
            1,
            "{code}: {answer:#}"
        );
    }
    // Alone they name services that may be declared elsewhere.
    let alone = lint(&["-o", "json"], &[&corpus("seeds")]);
    assert_eq!(alone.status.code(), Some(0));
    assert!(codes(&json(&alone)).contains(&"PC0301".to_owned()));
    assert_eq!(
        lint(&["--closed"], &[&corpus("seeds")]).status.code(),
        Some(1)
    );
}

#[test]
fn each_fragment_of_the_seeds_gets_its_cure() {
    for (name, code, cure) in [
        ("001-circuit-breaker.yaml", "PC0002", "write `# …` instead"),
        ("001-virtual-service.yaml", "PC0002", "write `# …` instead"),
        (
            "004-breaker-tuning.yaml",
            "PC0101",
            "`spec.trafficPolicy.outlierDetection` of a DestinationRule",
        ),
        ("004-canary.yaml", "PC0108", "add `hosts: [order-service]`"),
        (
            "004-load-balancer.yaml",
            "PC0108",
            "add `host: order-service`",
        ),
        (
            "004-retries-under-spec.yaml",
            "PC0107",
            "`spec.http[]` of a VirtualService, next to `route`",
        ),
        (
            "004-timeout-policy.yaml",
            "PC0108",
            "add `metadata: {name: …}`",
        ),
    ] {
        let output = lint(&["-o", "json"], &[&corpus("fragments").join(name)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let answer = json(&output);
        let cured = answer["diagnostics"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| {
                let help = finding["help"].as_str().unwrap_or_default();
                finding["code"] == code && finding["severity"] == "error" && help.contains(cure)
            });
        assert!(cured, "{name}: {answer:#}");
        assert!(!codes(&answer).is_empty());
    }
}

#[test]
fn codes_are_explained() {
    let explain = |args: &[&str]| {
        portcullis()
            .arg("explain-code")
            .args(args)
            .output()
            .unwrap()
    };
    let page = text(&explain(&["pc107"]));
    assert!(page.starts_with("PC0107: unknown field\n\n"), "{page}");
    assert!(
        page.contains("\nWrong:\n\n    apiVersion:") && page.contains("\nRight:\n\n"),
        "{page}"
    );
    let list = text(&explain(&[]));
    for line in ["PC0001  not valid YAML", "PC0403  ", "PC0501  "] {
        assert!(list.contains(line), "{line}:\n{list}");
    }
    let answer: Value = serde_json::from_slice(&explain(&["PC0107", "-o", "json"]).stdout).unwrap();
    assert_eq!(answer["title"], "unknown field");
    let unknown = explain(&["PC9107"]);
    assert_eq!(unknown.status.code(), Some(2));
    let words = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        words.contains("no code `PC9107`") && words.contains("did you mean"),
        "{words}"
    );
}
