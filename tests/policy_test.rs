//! `portcullis policy test` end to end: formats, exit codes, golden tables, coverage, and the suites of the repository.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: catalog-read, namespace: shop}
spec:
  selector: {matchLabels: {app: catalog}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/shop/sa/order]}}]
      to: [{operation: {methods: [GET], paths: ["/api/products/*"]}}]
    - to: [{operation: {paths: [/health]}}]
"#;

const TEST: &str = r"
apiVersion: portcullis.dev/v1
kind: PolicyTest
metadata: {name: catalog}
spec:
  policies: [../policies/*.yaml]
  workload: {namespace: shop, labels: {app: catalog}, serviceAccount: catalog}
  cases:
    - name: order may read
      request: {principal: cluster.local/ns/shop/sa/order, path: /api/products/1?x=y}
      expect: allow
      by: catalog-read/rules[0]
";

const MATRIX: &str = r#"
  matrix:
    principals: [cluster.local/ns/shop/sa/order, anonymous]
    operations: ["GET /api/products/1", {name: health check, path: /health}]
    golden: catalog.txt
"#;

/// `policies/catalog.yaml` and `tests/catalog.yaml` with this text.
fn folder(test: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("policies/catalog.yaml", POLICY),
        ("tests/catalog.yaml", test),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["policy", "test"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn what_passes_exits_with_0() {
    let folder = folder(TEST);
    for paths in [["tests"], ["tests/catalog.yaml"]] {
        let output = run(folder.path(), &paths);
        assert_eq!(code(&output), 0, "{}", errors(&output));
        assert!(text(&output).contains("1 case in 1 test: 1 passed, 0 failed"));
    }
}

#[test]
fn what_fails_exits_with_1_and_says_where_and_why() {
    let wrong = TEST.replace(
        "path: /api/products/1?x=y",
        "path: /api/products/1, method: PUT",
    );
    let folder = folder(&wrong);
    let output = run(folder.path(), &["tests"]);
    assert_eq!(code(&output), 1);
    let text = text(&output);
    for said in [
        "✗ order may read",
        "--> tests/catalog.yaml:9:7",
        "expected  allow, by catalog-read/rules[0]",
        "got       deny",
        "none of their rules matches",
        "methods is `PUT`, not `GET` (policies/catalog.yaml:9:35)",
    ] {
        assert!(text.contains(said), "`{said}` is missing:\n{text}");
    }
}

#[test]
fn another_rule_than_the_named_one_is_a_failure() {
    let folder = folder(&TEST.replace("rules[0]", "rules[1]"));
    let output = run(folder.path(), &["tests", "-o", "json"]);
    assert_eq!(code(&output), 1);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let case = &answer["tests"][0]["cases"][0];
    assert_eq!(case["passed"], false);
    assert_eq!(case["expected"]["by"], "catalog-read/rules[1]");
    assert_eq!(case["got"]["outcome"], "allow");
    assert_eq!(case["got"]["by"], "shop/catalog-read/rules[0]");
    assert_eq!(case["got"]["byAt"]["file"], "policies/catalog.yaml");
    assert_eq!(case["at"]["line"], 9);
    assert_eq!(
        (&answer["passed"], &answer["failed"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn what_cannot_be_tested_exits_with_2() {
    for (what, test, said) in [
        (
            "a wrong field",
            TEST.replace("expect:", "expects:"),
            "PC0107",
        ),
        (
            "no such file",
            TEST.replace("*.yaml", "x/*.yaml"),
            "no file is `../policies/x/*.yaml`",
        ),
        (
            "no principal",
            TEST.replace("/sa/order,", "/sa/a%b,"),
            "is no principal",
        ),
        ("no test", POLICY.to_owned(), "there is no PolicyTest"),
    ] {
        let folder = folder(&test);
        let output = run(folder.path(), &["tests"]);
        assert_eq!(code(&output), 2, "{what}: {}", text(&output));
        let said_so = errors(&output).contains(said);
        assert!(said_so, "{what}: {}", errors(&output));
    }
    let folder = folder(TEST);
    assert_eq!(code(&run(folder.path(), &[])), 2, "no path");
    assert_eq!(
        code(&run(folder.path(), &["elsewhere"])),
        2,
        "a path that does not exist"
    );
    assert_eq!(
        code(&run(folder.path(), &["policies/catalog.yaml"])),
        2,
        "a file without a test"
    );
}

#[test]
fn policies_with_errors_exit_with_2_and_their_findings() {
    let folder = folder(TEST);
    let wrong = POLICY.replace("methods: [GET]", "method: [GET]");
    fs::write(folder.path().join("policies/catalog.yaml"), wrong).unwrap();
    let output = run(folder.path(), &["tests"]);
    assert_eq!(code(&output), 2);
    let said = errors(&output);
    assert!(
        said.contains("PC0107") && said.contains("policies/catalog.yaml:9:"),
        "{said}"
    );
    assert!(text(&output).is_empty());

    // What is good is carried out all the same.
    let other = TEST.replace("../policies/*.yaml", "../other/*.yaml");
    assert_ne!(other, TEST);
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/catalog.yaml"), POLICY).unwrap();
    fs::write(folder.path().join("tests/other.yaml"), other).unwrap();
    let output = run(folder.path(), &["tests"]);
    assert_eq!(code(&output), 2);
    assert!(text(&output).contains("passed"), "{}", text(&output));
}

#[test]
fn a_golden_table_is_written_and_held() {
    let folder = folder(&format!("{}{MATRIX}", TEST.trim_end()));
    let golden = folder.path().join("tests/catalog.txt");
    let output = run(folder.path(), &["tests"]);
    assert_eq!(code(&output), 1, "there is no table yet");
    assert!(
        text(&output).contains("--update writes it"),
        "{}",
        text(&output)
    );
    assert!(!golden.exists());

    let output = run(folder.path(), &["tests", "--update"]);
    assert_eq!(code(&output), 0, "{}", text(&output));
    let table = fs::read_to_string(&golden).unwrap();
    assert!(
        table.contains("[cluster.local/ns/shop/sa/order]\nallow"),
        "{table}"
    );
    assert!(
        table.contains("GET /api/products/1  shop/catalog-read/rules[0]"),
        "{table}"
    );
    assert!(
        table.contains("health check  shop/catalog-read/rules[1]"),
        "{table}"
    );
    assert_eq!(code(&run(folder.path(), &["tests"])), 0);

    let policy = folder.path().join("policies/catalog.yaml");
    fs::write(policy, POLICY.replace("[/health]", "[/healthz]")).unwrap();
    let output = run(folder.path(), &["tests"]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output).contains("✗ anonymous: health check"),
        "{}",
        text(&output)
    );
    assert_eq!(
        fs::read_to_string(&golden).unwrap(),
        table,
        "nothing is written unasked"
    );

    fs::write(&golden, "not a table\n").unwrap();
    assert_eq!(code(&run(folder.path(), &["tests"])), 2);
    fs::write(
        &golden,
        format!("{table}\n[anonymous]\nallow  GET /gone  -\n"),
    )
    .unwrap();
    let output = run(folder.path(), &["tests"]);
    assert!(
        text(&output).contains("the matrix has no such row"),
        "{}",
        text(&output)
    );
}

#[test]
fn coverage_counts_rules_and_has_a_least() {
    let folder = folder(TEST);
    let output = run(folder.path(), &["tests", "--coverage"]);
    assert_eq!(code(&output), 0);
    let said = text(&output);
    assert!(
        said.contains("coverage: 1 of 2 rules matched by a case (50 %)"),
        "{said}"
    );
    assert!(
        said.contains("shop/catalog-read/rules[1]  ALLOW   never"),
        "{said}"
    );
    assert_eq!(
        code(&run(folder.path(), &["tests", "--min-coverage", "50"])),
        0
    );
    let output = run(
        folder.path(),
        &["tests", "--min-coverage", "51", "-o", "json"],
    );
    assert_eq!(code(&output), 1);
    assert!(errors(&output).contains("50 %"), "{}", errors(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["coverage"]["percent"], 50);
    assert_eq!(answer["coverage"]["rules"][0]["hits"], 1);
    assert_eq!(answer["coverage"]["rules"][1]["decides"], 0);
    assert_eq!(
        code(&run(folder.path(), &["tests", "--min-coverage", "101"])),
        2
    );
}

#[test]
fn junit_has_a_suite_for_each_test_and_escapes_names() {
    let folder = folder(
        &TEST
            .replace("order may read", "order <may> \"read\" & more")
            .replace("expect: allow", "expect: deny"),
    );
    let output = run(folder.path(), &["tests", "-o", "junit"]);
    assert_eq!(code(&output), 1);
    let xml = text(&output);
    for part in [
        "<testsuites name=\"portcullis policy test\" tests=\"1\" failures=\"1\" errors=\"0\">",
        "<testsuite name=\"catalog\" file=\"tests/catalog.yaml\" tests=\"1\" failures=\"1\"",
        "name=\"order &lt;may&gt; &quot;read&quot; &amp; more\"",
        "<failure message=\"expected deny by catalog-read/rules[0], got allow by shop/catalog-read/rules[0]\"",
        "</testsuites>",
    ] {
        assert!(xml.contains(part), "`{part}` is missing:\n{xml}");
    }
}

#[test]
fn the_suites_of_the_repository_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = run(root, &["tests/conformance", "policies/examples/tests"]);
    assert_eq!(code(&output), 0, "{}{}", text(&output), errors(&output));
}
