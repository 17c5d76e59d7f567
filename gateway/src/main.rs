//! The slim `portcullis-gateway` binary.

use clap::Parser;

/// The ingress gateway of a Portcullis mesh.
#[derive(Debug, Parser)]
#[command(name = "portcullis-gateway", version)]
struct Cli {
    #[command(flatten)]
    args: gateway::command::Args,
}

fn main() -> anyhow::Result<()> {
    gateway::command::run(Cli::parse().args)
}
