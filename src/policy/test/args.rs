//! What `portcullis policy test` is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// JUnit XML, for build servers.
    Junit,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Files with tests, and directories with everything below them that ends in .yaml or .yml
    #[arg(value_name = "FILE|DIR", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The form of the results
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Say which rules the tests reach
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Fail if the tests reach fewer of the rules than this percentage; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) min_coverage: Option<u8>,
    /// Write the golden tables of matrices as they are found to be
    #[arg(long)]
    pub(crate) update: bool,
}

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis policy test tests/                          every test below tests/
  portcullis policy test tests/catalog.yaml --coverage   and which rules it reaches
  portcullis policy test tests/ -o junit > results.xml --min-coverage 90
  portcullis policy test tests/ --update                 renew the golden tables of matrices

Needs no mesh. A test is a YAML document of kind PolicyTest; docs/policy-tests.md says what it holds.
Exit codes: 0 all pass, 1 a failure (or too little coverage), 2 a wrong command line, a test that
cannot be read, or policies with errors.";
