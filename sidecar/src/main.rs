//! The slim `portcullis-sidecar` binary.

use clap::Parser as _;

/// The slim mTLS proxy beside a workload.
#[derive(clap::Parser)]
#[command(name = "portcullis-sidecar", version)]
struct Cli {
    #[command(flatten)]
    args: sidecar::command::Args,
}

fn main() -> anyhow::Result<()> {
    sidecar::command::run(Cli::parse().args)
}
