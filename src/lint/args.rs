//! What `portcullis lint` is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use identity::TrustDomain;

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, with the lines of the source.
    Text,
    /// For programs.
    Json,
    /// SARIF 2.1.0, for code hosting and editors.
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Files, directories with everything below them that ends in .yaml or .yml, or - for standard
    /// input [default: the current directory]
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// The form of the findings
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
    /// Exit with 1 on warnings too
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// Write what can be fixed into the files; with -, print the fixed text, and the findings to
    /// standard error
    #[arg(long)]
    pub(crate) fix: bool,
    /// The files are all there is: a reference to anything else is an error, as for a running
    /// process
    #[arg(long)]
    pub(crate) closed: bool,
    /// The namespace of documents that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = crate::names::DEFAULT_NAMESPACE)]
    pub(crate) namespace: String,
    /// The trust domain of the mesh
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = trust_domain)]
    pub(crate) trust_domain: TrustDomain,
    /// The namespace whose policies hold everywhere
    #[arg(long, value_name = "NAMESPACE", default_value = "istio-system")]
    pub(crate) root_namespace: String,
}

fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|error| error.to_string())
}

/// What the help shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis lint                              every document below the current directory
  portcullis lint policies/ entries/ --closed  the whole set of a mesh
  portcullis lint --fix policies/              cure what has one cure
  kubectl get virtualservices -A -o yaml | portcullis lint -
  portcullis lint -o sarif policies/ > lint.sarif

A reference to something outside the files is a warning, since it may live elsewhere; --closed makes
it an error, as it is for a running process. Exit codes: 0 no errors, 1 errors (or warnings with
--deny-warnings), 2 usage. `portcullis explain-code PC0107` explains a finding.";
