//! The slim `portcullis-gateway` binary.

use std::process::ExitCode;

use clap::Parser as _;

/// The ingress gateway of a Portcullis mesh.
#[derive(clap::Parser)]
#[command(name = "portcullis-gateway", version)]
struct Cli {
    #[command(flatten)]
    args: gateway::command::Args,
}

#[expect(
    clippy::print_stderr,
    reason = "the log may not have begun when the start fails"
)]
fn main() -> ExitCode {
    match gateway::command::run(Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For an operator: never with a backtrace.
            eprintln!("portcullis-gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
