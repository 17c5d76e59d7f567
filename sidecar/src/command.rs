//! `portcullis-sidecar` as a command: what is typed, and what runs.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::config::Config;
use crate::process;

/// Threads that carry requests. Two keep a long TLS handshake or a policy compilation from stopping everybody; more
/// would cost memory beside every workload of the mesh.
const WORKERS: usize = 2;

/// The arguments of `portcullis-sidecar` and `portcullis sidecar`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process file (`kind: SidecarConfig`)
    #[arg(long)]
    pub config: PathBuf,
    /// Override one key of the process file: `--set drain.timeout=5s`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the sidecar until it has drained.
pub fn run(args: Args) -> anyhow::Result<()> {
    runtime::process::no_core_dumps();
    // Somebody else in this process may have been first; it is the same provider then (design decision 5).
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let config = Config::load(&args.config, &args.set)?;
    drop(args);
    let log = runtime::log::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(4)
        .thread_name("sidecar")
        .enable_io()
        .enable_time()
        .build()
        .context("cannot start the tokio runtime")?;
    let ended = runtime.block_on(process::run(config, log));
    // Whatever outlived the drain deadline is cut here.
    runtime.shutdown_background();
    ended
}
