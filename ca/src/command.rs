//! The command line of `portcullis-ca`, shared with `portcullis ca`.

use std::path::PathBuf;

/// Arguments of the certificate authority.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process file (`kind: CaConfig`)
    #[arg(long)]
    pub config: PathBuf,
    /// Override one key of the process file: `--set x509.ttl=5m`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the certificate authority until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet: `{}`", args.config.display())
}
