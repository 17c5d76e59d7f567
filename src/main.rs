//! `portcullis`: the one command that people type; every verb calls a library or a module below.

mod admin_port;
mod apply;
mod authz;
mod breaker;
mod ca_admin;
mod canary;
mod change;
mod chaos;
mod cli;
mod completion;
mod delete;
mod demo;
mod directory;
mod down;
mod entries;
mod env;
mod exit;
mod explain;
mod explain_code;
mod get;
mod inputs;
mod lint;
mod lock;
mod mesh_set;
mod names;
mod parent;
mod policy;
mod ports;
mod process_files;
mod processes;
mod record;
mod route;
mod run;
mod schema;
mod services;
mod status;
mod terminal;
mod up;
mod version;
mod who_can;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(pid) = cli.parent {
        parent::die_with(pid);
    }
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::complain(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => up::run(&args),
        Command::Down(args) => down::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Services(args) => services::run(&args),
        Command::Env(args) => env::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Route(args) => route::run(&args),
        Command::Breaker(args) => breaker::run(&args),
        Command::Canary(args) => canary::run(&args),
        Command::Get(args) => get::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Delete(args) => delete::run(&args),
        Command::Lint(args) => lint::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::WhoCan(args) => who_can::run(&args),
        Command::ExplainCode(args) => explain_code::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Authz(args) => authz::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Version(args) => version::run(&args),
        Command::Ca(args) => program(ca::command::run(args)),
        Command::Gateway(args) => program(gateway::command::run(args)),
        Command::Sidecar(args) => program(sidecar::command::run(args)),
        Command::Registry(args) => program(registry::command::run(args)),
        Command::Demo(args) => demo::run(args),
        Command::Exec(args) => run::program::exec(&args),
        Command::Completion(args) => Ok(completion::run(&args)),
    }
}

fn program(outcome: anyhow::Result<()>) -> Result<Exit, Failure> {
    outcome.map(|()| Exit::Fine).map_err(Failure::from)
}
