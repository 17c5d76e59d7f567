//! The slim `portcullis-ca` binary.

use std::process::ExitCode;

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

#[expect(
    clippy::print_stderr,
    reason = "the log may not have begun when the start fails"
)]
fn main() -> ExitCode {
    match ca::command::run(Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one line, and never with a backtrace: it is for an operator.
            eprintln!("portcullis-ca: {error:#}");
            ExitCode::FAILURE
        }
    }
}
