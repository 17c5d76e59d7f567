//! The slim `portcullis-sidecar` binary.

use std::process::ExitCode;

use clap::Parser as _;

/// The slim mTLS proxy beside a workload.
#[derive(clap::Parser)]
#[command(name = "portcullis-sidecar", version)]
struct Cli {
    #[command(flatten)]
    args: sidecar::command::Args,
}

#[expect(
    clippy::print_stderr,
    reason = "the log may not have begun when the start fails"
)]
fn main() -> ExitCode {
    match sidecar::command::run(Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For an operator: never with a backtrace.
            eprintln!("portcullis-sidecar: {error:#}");
            ExitCode::FAILURE
        }
    }
}
