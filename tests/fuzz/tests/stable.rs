//! Drives every target on stable Rust: first its corpus, then seeded mutations of it.
//!
//! `make test` runs a fixed number of mutations with a fixed seed; `make test-long` runs the ignored test with many more
//! and a seed of its own (`FUZZ_SEED`, `FUZZ_ROUNDS`: how many times as many). A failing input is written to a file whose name is
//! printed; put it into `tests/fuzz/corpus/<target>/` when the mistake is fixed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed test is a panic"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fuzz_targets::mutate::Mutator;
use fuzz_targets::targets::{ALL, Food, Target};

/// No input may take longer; a very slow machine keeps this a hundred times over.
const PATIENCE: Duration = Duration::from_secs(20);

fn target(name: &str) -> &'static Target {
    ALL.iter().find(|target| target.name == name).unwrap()
}

/// The inputs that a target starts from: its own, and every policy document of the repository for those that eat YAML.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&here.join("corpus").join(target.name), &mut files);
    if target.food == Food::Yaml {
        collect(&here.join("../corpus"), &mut files);
        collect(&here.join("../../policies/examples"), &mut files);
    }
    files.sort();
    files
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_none_or(|extension| extension != "md") {
            files.push(path);
        }
    }
}

fn feed(target: &Target, input: &[u8]) {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let slow = begun.elapsed() > PATIENCE;
    if outcome.is_err() || slow {
        let reason = if slow { "took too long" } else { "failed" };
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{}.input", target.name));
        std::fs::write(&path, input).unwrap();
        panic!("{} {reason} on {}", target.name, path.display());
    }
}

fn drive(target: &Target, seed: u64, times: u32) {
    let corpus = corpus(target);
    assert!(
        !corpus.is_empty() || target.food == Food::Bytes,
        "{} has no corpus",
        target.name
    );
    for input in &corpus {
        feed(target, input);
    }
    let mut mutator = Mutator::new(seed);
    for _ in 0..u64::from(target.rounds) * u64::from(times) {
        feed(target, &mutator.input(&corpus, target.food));
    }
}

macro_rules! quick {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            drive(target(stringify!($name)), 1, 1);
        })*

        #[test]
        fn every_target_is_driven() {
            let driven = [$(stringify!($name)),*];
            let all: Vec<&str> = ALL.iter().map(|target| target.name).collect();
            assert_eq!(all, driven);
        }
    };
}

quick!(documents fixes router authorization paths tokens spiffe_id join_token trust_bundle);

#[test]
#[ignore = "takes many minutes: make test-long"]
fn at_length() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let seed = number("FUZZ_SEED", 2);
    let times = u32::try_from(number("FUZZ_ROUNDS", 50)).unwrap();
    for target in ALL {
        let begun = Instant::now();
        drive(target, seed, times);
        eprintln!(
            "{}: {} inputs in {:?}, seed {seed}",
            target.name,
            target.rounds * times,
            begun.elapsed()
        );
    }
}
