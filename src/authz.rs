//! `portcullis authz`: our decisions for other proxies.

mod serve;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

/// The verbs of the group.
#[derive(Debug, Args)]
pub(crate) struct Authz {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer Envoy's ext_authz questions (gRPC) from policy documents
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Serve),
}

/// What the help of the group shows.
pub(crate) const EXAMPLES: &str = "\
Example:
  portcullis authz serve --listen 127.0.0.1:9191 --policies policies/ --workload my-app/web";

/// Runs a verb of the group.
pub(crate) fn run(args: &Authz) -> Result<Exit, Failure> {
    match &args.command {
        Command::Serve(args) => serve::run(args),
    }
}
