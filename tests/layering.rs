//! The house keeps its walls: who may import whom, and what every file of the repository must be like.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is a panic"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Each crate of the workspace, and the crates of ours that it may name (design: the dependency floors).
const FLOORS: &[(&str, &[&str])] = &[
    ("identity", &[]),
    ("policies", &[]),
    ("authz", &["policies", "identity"]),
    ("runtime", &["policies"]),
    ("dataplane", &["authz", "policies", "identity", "runtime"]),
    ("ca", &["policies", "identity", "runtime"]),
    (
        "gateway",
        &["authz", "policies", "identity", "runtime", "dataplane"],
    ),
    (
        "sidecar",
        &["authz", "policies", "identity", "runtime", "dataplane"],
    ),
    ("registry", &["identity", "runtime", "dataplane"]),
    (
        "portcullis",
        &[
            "authz",
            "policies",
            "identity",
            "runtime",
            "dataplane",
            "ca",
            "gateway",
            "sidecar",
            "registry",
        ],
    ),
];

/// The crates without I/O: `authz` and `policies` whole, `identity` without features.
const PURE: &[&str] = &["identity", "policies", "authz"];

/// Package prefixes that mean sockets, tasks or a TLS stack.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "rustls",
    "tonic",
    "reqwest",
    "mio",
    "async-std",
    "smol",
    "notify",
    "rustix",
    "libc",
    "tracing-subscriber",
];

/// What the product is built on: each must be a normal dependency of a shipped crate.
const PILLARS: &[&str] = &[
    "pingora",
    "tokio",
    "rustls",
    "rcgen",
    "x509-parser",
    "tonic",
    "serde",
    "sled",
    "tracing",
    "prometheus",
];

/// One entry of a manifest's dependency tables.
struct Dependency {
    name: String,
    /// `normal`, `dev` or `build`.
    kind: String,
    optional: bool,
    features: Vec<String>,
    ours: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every workspace crate with its dependencies and its features, from `cargo metadata`.
fn manifests() -> BTreeMap<String, (Vec<Dependency>, Value)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let dependencies = dependencies
                .iter()
                .map(|dependency| Dependency {
                    name: dependency["name"].as_str().expect("name").to_owned(),
                    kind: dependency["kind"].as_str().unwrap_or("normal").to_owned(),
                    optional: dependency["optional"].as_bool().expect("optional"),
                    features: strings(&dependency["features"]),
                    ours: dependency["path"].is_string(),
                })
                .collect();
            let name = package["name"].as_str().expect("name").to_owned();
            (name, (dependencies, package["features"].clone()))
        })
        .collect()
}

fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_crate_stands_on_its_floor() {
    let manifests = manifests();
    let known: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    // A crate that only tests name (a counting allocator, say) is nobody's floor.
    let test_only = |name: &str| {
        let mut named = manifests
            .values()
            .flat_map(|(dependencies, _)| dependencies);
        named.all(|dependency| dependency.name != name || dependency.kind == "dev")
    };
    for (name, (dependencies, _)) in &manifests {
        let Some((_, allowed)) = FLOORS.iter().find(|(floor, _)| floor == name) else {
            assert!(
                test_only(name),
                "`{name}` is shipped but has no floor in {:?}",
                file!()
            );
            continue;
        };
        for dependency in dependencies.iter().filter(|dependency| dependency.ours) {
            let to = dependency.name.as_str();
            let fine = allowed.contains(&to) || (dependency.kind == "dev" && !known.contains(to));
            assert!(
                fine,
                "`{name}` must not name `{to}`: it stands on a higher floor or beside it"
            );
        }
    }
    for name in known {
        assert!(
            manifests.contains_key(name),
            "`{name}` is gone from the workspace"
        );
    }
}

#[test]
fn authz_sees_names_and_peers_of_identity_only() {
    let manifests = manifests();
    for dependency in manifests["authz"]
        .0
        .iter()
        .filter(|dependency| dependency.name == "identity")
    {
        assert_eq!(
            dependency.features,
            Vec::<String>::new(),
            "`authz` needs identity without features"
        );
    }
    assert_eq!(
        strings(&manifests["identity"].1["default"]),
        Vec::<String>::new()
    );
}

#[test]
fn the_ground_floor_is_pure() {
    let manifests = manifests();
    for name in PURE {
        for dependency in &manifests[*name].0 {
            let package = dependency.name.as_str();
            let impure = IMPURE.iter().any(|prefix| {
                package
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            });
            // `identity` has features above the ground floor; they must be off unless asked for.
            let excused = dependency.kind == "dev" || (*name == "identity" && dependency.optional);
            assert!(
                !impure || excused,
                "`{name}` is pure and must not name `{package}`"
            );
        }
    }
}

#[test]
fn special_tools_stay_in_one_place() {
    for (name, (dependencies, _)) in manifests() {
        for dependency in dependencies
            .iter()
            .filter(|dependency| dependency.kind != "dev")
        {
            let package = dependency.name.as_str();
            let at_home = match package {
                _ if package.starts_with("pingora") => name == "gateway",
                "sled" => name == "ca",
                "rcgen" => name == "ca" || (name == "identity" && dependency.optional),
                _ => true,
            };
            assert!(at_home, "`{name}` must not name `{package}`");
        }
    }
}

#[test]
fn the_product_stands_on_its_pillars() {
    let shipped: BTreeSet<String> = manifests()
        .into_iter()
        .filter(|(name, _)| FLOORS.iter().any(|(floor, _)| floor == name))
        .flat_map(|(_, (dependencies, _))| dependencies)
        .filter(|dependency| dependency.kind == "normal")
        .map(|dependency| dependency.name)
        .collect();
    for pillar in PILLARS {
        assert!(
            shipped.contains(*pillar),
            "no shipped crate names `{pillar}`"
        );
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let silent: Vec<_> = repository_files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| {
            let text = fs::read_to_string(root().join(path)).expect("source files are UTF-8");
            // Generated code says who made it.
            !text.starts_with("//!") && !text.starts_with("// This file is @generated")
        })
        .collect();
    assert_eq!(
        silent,
        Vec::<PathBuf>::new(),
        "these files do not begin with `//!`"
    );
}

/// The one crate that may hold `unsafe` code; only tests and benches name it.
const UNSAFE: &str = "allocations";

#[test]
fn unsafe_code_stays_in_the_counting_allocator() {
    let lints = |manifest: &Path| -> String {
        let text = fs::read_to_string(root().join(manifest)).expect("the manifest is readable");
        let (_, lints) = text.split_once("[lints").expect("the manifest has lints");
        lints.to_owned()
    };
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    for (name, (dependencies, _)) in manifests() {
        for dependency in dependencies {
            assert!(
                dependency.name != UNSAFE || dependency.kind == "dev",
                "`{name}` would ship `{UNSAFE}`"
            );
        }
        if name != UNSAFE {
            let manifest = match name.as_str() {
                "portcullis" => PathBuf::from("Cargo.toml"),
                "fuzz-targets" => PathBuf::from("tests/fuzz/Cargo.toml"),
                member => Path::new(member).join("Cargo.toml"),
            };
            // `forbid` cannot be undone by an attribute; only a manifest of its own could.
            assert_eq!(lints(&manifest).trim(), "]\nworkspace = true", "{name}");
        }
    }
}

/// The additions to `clippy.toml` that make "pure" a compiler message.
const PURE_BANS: &str = r#"  { path = "std::time::Instant::now", reason = "take `now` as an argument" },
  { path = "std::time::SystemTime::now", reason = "take `now` as an argument" },
"#;

#[test]
fn the_pure_crates_have_the_common_clippy_rules_and_their_bans() {
    let common = fs::read_to_string(root().join("clippy.toml")).expect("clippy.toml");
    for path in repository_files() {
        if path.file_name().is_none_or(|name| name != "clippy.toml")
            || path == Path::new("clippy.toml")
        {
            continue;
        }
        let own = fs::read_to_string(root().join(&path)).expect("clippy.toml");
        assert!(
            own.contains(PURE_BANS),
            "{} lacks the bans of the pure crates",
            path.display()
        );
        assert_eq!(
            own.replacen(PURE_BANS, "", 1),
            common,
            "{} differs from the root's",
            path.display()
        );
    }
    for name in ["authz", "policies"] {
        assert!(
            root().join(name).join("clippy.toml").exists(),
            "`{name}` is pure and needs its clippy.toml"
        );
    }
}

#[test]
fn no_file_mentions_a_home_directory() {
    // Written in two parts so that this file does not mention one.
    let prefixes = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
    ];
    let mut found = Vec::new();
    for path in repository_files() {
        let bytes = fs::read(root().join(&path)).expect("the file is readable");
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            let named = prefixes.iter().any(|prefix| {
                line.match_indices(prefix).any(|(at, _)| {
                    let before = line.get(..at).and_then(|text| text.chars().next_back());
                    let after = line
                        .get(at + prefix.len()..)
                        .and_then(|text| text.chars().next());
                    before.is_none_or(|before| {
                        !before.is_alphanumeric() && before != '}' && before != '.'
                    }) && after.is_some_and(char::is_alphanumeric)
                })
            });
            if named {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert_eq!(
        found,
        Vec::<String>::new(),
        "these lines name somebody's home directory"
    );
}

/// The files of the repository, relative to its root: those git knows or would add, else all but build results.
fn repository_files() -> Vec<PathBuf> {
    let git = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output();
    let mut files: Vec<PathBuf> = match git {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
            list.split_terminator('\0').map(PathBuf::from).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(root(), &mut found);
            found
        }
    };
    files.retain(|path| root().join(path).is_file());
    files.sort();
    files.dedup();
    assert!(
        files.len() > 20,
        "the repository has more files than {}",
        files.len()
    );
    files
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory is readable") {
        let entry = entry.expect("the entry is readable");
        let name = entry.file_name();
        if [".git", "target", ".tools", "portcullis"]
            .iter()
            .any(|skipped| name == *skipped)
        {
            continue;
        }
        let kind = entry.file_type().expect("the entry has a type");
        if kind.is_dir() {
            walk(&entry.path(), found);
        } else if kind.is_file() {
            found.push(
                entry
                    .path()
                    .strip_prefix(root())
                    .expect("below the root")
                    .to_owned(),
            );
        }
    }
}
