//! `portcullis completion`: scripts that complete verbs and flags in a shell.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completion};
use crate::exit::Exit;

/// Prints the script for the shell asked for.
pub(crate) fn run(args: &Completion) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "portcullis", &mut script);
    crate::terminal::print(&String::from_utf8_lossy(&script));
    Exit::Fine
}
