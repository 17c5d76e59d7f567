//! The slim `portcullis-ca` binary.

use clap::Parser as _;

#[derive(clap::Parser)]
#[command(
    name = "portcullis-ca",
    version,
    about = "The workload certificate authority"
)]
struct Cli {
    #[command(flatten)]
    args: ca::command::Args,
}

fn main() -> anyhow::Result<()> {
    ca::command::run(Cli::parse().args)
}
