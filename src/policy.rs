//! `portcullis policy`: what a security team does with policies besides writing them.

pub(crate) mod audit;
pub(crate) mod test;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};

/// The verbs of the group.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carry out policy tests: what policies decide, without a mesh
    #[command(after_help = test::args::EXAMPLES)]
    Test(test::args::Test),
    /// Say who would have been denied by what is only tried
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::Audit),
}

/// What the help of the group shows.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis policy test tests/
  portcullis policy audit report";

/// Runs a verb of the group.
pub(crate) fn run(args: &Policy) -> Result<Exit, Failure> {
    match &args.command {
        Command::Test(args) => test::run(args),
        Command::Audit(args) => audit::run(args),
    }
}
