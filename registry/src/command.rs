//! `portcullis registry`: what is typed, and what runs.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::Config;
use crate::process;

/// The arguments of `portcullis registry`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process file (`kind: RegistryConfig`)
    #[arg(long)]
    pub config: PathBuf,
    /// Override one key of the process file: `--set lease.timeout=5s`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the registry until it is told to stop.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the programs share this signature"
)]
pub fn run(args: Args) -> anyhow::Result<()> {
    runtime::process::no_core_dumps();
    // Somebody else in this process may have been first; it is the same provider then.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let config = Config::load(&args.config, &args.set)?;
    let log = runtime::log::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(2)
        .thread_name("registry")
        .enable_io()
        .enable_time()
        .build()
        .context("cannot start the tokio runtime")?;
    let ended = runtime.block_on(process::run(config, log));
    runtime.shutdown_background();
    ended
}
