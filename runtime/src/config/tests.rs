//! Tests of process files: what is accepted, and what the errors say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sample {
    state_dir: PathBuf,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    listeners: BTreeMap<u16, String>,
    #[serde(default)]
    inbound: Vec<Inbound>,
    #[serde(default)]
    drain: Drain,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Drain {
    #[serde(with = "crate::duration")]
    timeout: Duration,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inbound {
    port: u16,
    listen: String,
}

impl ConfigDocument for Sample {
    const KIND: &'static str = "SampleConfig";
}

const FILE: &str = "\
# a comment with ü
apiVersion: portcullis.dev/v1
kind: SampleConfig
stateDir: ./state
labels: {app: order, version: 1.10}
listeners: {80: \"127.0.0.1:8090\"}
inbound:
  - port: 8080
    listen: \"127.0.0.1:15006\"
drain:
  timeout: 30s
";

fn load(text: &str, overrides: &[&str]) -> Result<Sample, String> {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    parse(Path::new("x.yaml"), text.to_owned(), &overrides).map_err(|error| error.to_string())
}

#[test]
fn a_file_loads() {
    let sample = load(FILE, &[]).unwrap();
    assert_eq!(sample.labels["version"], "1.10");
    assert_eq!(sample.listeners[&80], "127.0.0.1:8090");
    assert_eq!(sample.drain.timeout, Duration::from_secs(30));
}

#[test]
fn overrides_replace_and_add() {
    let sample = load(
        FILE,
        &[
            "stateDir=/var/lib/x y",
            "labels.version=2.0",
            "labels.tier=a, b: c",
            "listeners.443=127.0.0.1:8443",
            "inbound.0.listen=127.0.0.1:0",
            "drain.timeout=5s",
        ],
    )
    .unwrap();
    assert_eq!(sample.state_dir, Path::new("/var/lib/x y"));
    assert_eq!(sample.labels["version"], "2.0");
    assert_eq!(sample.labels["tier"], "a, b: c");
    assert_eq!(sample.labels["app"], "order");
    assert_eq!(sample.listeners[&443], "127.0.0.1:8443");
    assert_eq!(sample.inbound[0].listen, "127.0.0.1:0");
    assert_eq!(sample.inbound[0].port, 8080);
    assert_eq!(sample.drain.timeout, Duration::from_secs(5));

    let bare = "apiVersion: portcullis.dev/v1\nkind: SampleConfig\n";
    let sample = load(bare, &["stateDir=s", "drain.timeout=1s", "labels={a: b}"]).unwrap();
    assert_eq!(sample.drain.timeout, Duration::from_secs(1));
    assert_eq!(sample.labels["a"], "b");
}

#[test]
fn bad_overrides_say_why() {
    for (assignment, reason) in [
        ("stateDir", "expected `key.path=value`"),
        ("inbound.7.listen=x", "`inbound` is a list of 1"),
        ("stateDir.x=1", "`stateDir` is a single value"),
        ("drain={}", "`drain` is a block of its own"),
        (".x=1", "empty or odd"),
    ] {
        let error = load(FILE, &[assignment]).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    let error = load(FILE, &["statDir=x"]).unwrap_err();
    assert!(error.contains("statDir"), "{error}");
}

#[test]
fn errors_carry_their_exact_place() {
    for (from, to, place, message) in [
        (
            "timeout: 30s",
            "timeout: 30",
            "x.yaml:11:",
            "not a duration",
        ),
        ("stateDir:", "statedir:", "x.yaml:4:1", "statedir"),
        ("port: 8080", "port: 80800", "x.yaml:8:11", ""),
        (
            "kind: SampleConfig",
            "kind: CaConfig",
            "x.yaml:3:7: `kind` is `CaConfig`, expected `SampleConfig`",
            "",
        ),
        ("kind: SampleConfig", "", "x.yaml", "`kind` is missing"),
        (
            "apiVersion: portcullis.dev/v1",
            "apiVersion: v2",
            "x.yaml:2:13",
            "portcullis.dev/v1",
        ),
        (
            "drain:",
            "stateDir: ./again\ndrain:",
            "x.yaml:10:",
            "stateDir",
        ),
        ("drain:", "drain: {", "x.yaml:", ""),
        ("drain:", "---\ndrain:", "x.yaml:10:", "one document"),
    ] {
        let error = load(&FILE.replace(from, to), &[]).unwrap_err();
        assert!(
            error.contains(place) && error.contains(message),
            "{place} {message}: {error}"
        );
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let base = Path::new("/etc/portcullis/sidecar.yaml");
    assert_eq!(
        resolve(base, Path::new("./state")),
        Path::new("/etc/portcullis/state")
    );
    assert_eq!(resolve(base, Path::new("/x")), Path::new("/x"));
    assert_eq!(
        resolve(Path::new("sidecar.yaml"), Path::new("state")),
        Path::new("./state")
    );
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    std::fs::create_dir_all(real.join("a/b")).unwrap();
    let base = real.join("a/b/sidecar.yaml");
    assert_eq!(resolve(&base, Path::new("../../c")), real.join("c"));
    assert_eq!(
        resolve(&base, Path::new("./c/../d")),
        real.join("a/b/c/../d")
    );
}
