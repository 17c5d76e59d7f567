//! `portcullis-sidecar` as a command: what is typed, and what runs.

use std::path::PathBuf;

/// The arguments of `portcullis-sidecar` and `portcullis sidecar`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file, a `SidecarConfig`.
    #[arg(long)]
    pub config: PathBuf,
    /// Replaces one key of the configuration, as `key.path=value`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the sidecar until it has drained.
pub fn run(args: Args) -> anyhow::Result<()> {
    anyhow::bail!("the sidecar cannot serve `{}` yet", args.config.display())
}
