//! The command line of `portcullis-ca`, shared with `portcullis ca`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use runtime::lifecycle::Lifecycle;
use runtime::state_dir::StateDir;

use crate::authority::shelf::Shelf;
use crate::config::{Config, Profile};
use crate::program;

/// Arguments of the certificate authority.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The process file (`kind: CaConfig`)
    #[arg(long)]
    pub config: PathBuf,
    /// Override one key of the process file: `--set x509.ttl=5m`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What to do instead of serving
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What is done with the root key at hand, then the process ends.
#[derive(Debug, clap::Subcommand)]
pub enum Task {
    /// Make a new intermediate below an offline root (and the root itself, the first time)
    RenewIntermediate {
        /// The directory with `root.pem` and `root.key`; take it offline afterwards
        #[arg(long)]
        root_dir: PathBuf,
        /// The file with the root key's passphrase; without it the root key is not sealed
        #[arg(long)]
        root_passphrase_file: Option<PathBuf>,
    },
}

/// Runs the certificate authority until it is told to stop.
pub fn run(args: Args) -> anyhow::Result<()> {
    // Keys pass through this process: files are private from the start, and a crash leaves no image of memory.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    runtime::process::no_core_dumps();
    // Fails only if a provider is installed already, which `portcullis` may have done.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();

    let config = Config::load(&args.config, &args.set)?;
    let log = runtime::log::init(&config.log)?;
    if let Some(Task::RenewIntermediate {
        root_dir,
        root_passphrase_file,
    }) = args.task
    {
        return renew_intermediate(&config, &root_dir, root_passphrase_file.as_deref());
    }
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = tokio.block_on(async {
        let life = Lifecycle::install(config.drain_timeout)?;
        program::start(&config, life, Some(log))
            .await?
            .finished()
            .await
    });
    tokio.shutdown_background();
    outcome
}

fn renew_intermediate(
    config: &Config,
    root_dir: &Path,
    root_passphrase: Option<&Path>,
) -> anyhow::Result<()> {
    let shelf = program::shelf(config, StateDir::open(&config.state_dir)?)?;
    let root_shelf = Shelf {
        dir: StateDir::open(root_dir).context("the root's directory")?,
        passphrase: root_passphrase.map(program::read_passphrase).transpose()?,
        // The rules for the online authority do not bind the offline one.
        profile: Profile::Laptop,
        trust_domain: shelf.trust_domain.clone(),
    };
    let same = std::fs::canonicalize(root_dir)? == std::fs::canonicalize(&config.state_dir)?;
    anyhow::ensure!(
        !(same && config.profile == Profile::Production),
        "profile `production` keeps no root key in the state directory; name another `--root-dir`"
    );
    let authority = shelf.ceremony(&root_shelf, SystemTime::now())?;
    tracing::info!(
        intermediate = crate::issue::hex(&authority.issuer),
        "new intermediate written; take the root's directory offline, then restart the authority or \
         send it SIGHUP"
    );
    Ok(())
}
