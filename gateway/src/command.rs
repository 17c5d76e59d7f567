//! `portcullis-gateway` as a command: what is typed, and what runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use runtime::state_dir::StateDir;
use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;
use tokio::sync::{Mutex, oneshot};

use crate::config::GatewayConfig;
use crate::server::{GatewayService, WhenOver};

/// The arguments of `portcullis-gateway` and `portcullis gateway`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file, a `GatewayConfig`.
    #[arg(long)]
    pub config: PathBuf,
    /// Replaces one key of the configuration, as `key.path=value`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs the gateway until it has drained. Must not be called inside a tokio runtime: Pingora's server
/// makes its own.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the three programs share this signature"
)]
pub fn run(args: Args) -> anyhow::Result<()> {
    runtime::process::no_core_dumps();
    let provider = install_cryptography()?;
    let config = GatewayConfig::load(&args.config, &args.set)?;
    let log = runtime::log::init(&config.log)?;
    raise_descriptor_limit();
    let state = Arc::new(StateDir::open(&config.state_dir)?);
    let _lock = state.lock()?;

    let (over, when_over) = oneshot::channel();
    let outcome = Arc::new(parking_lot::Mutex::new(None));
    let signal = WhenOver {
        over: Mutex::new(Some(when_over)),
        outcome: Arc::clone(&outcome),
    };
    let mut server = Server::new_with_opt_and_conf(None, server_conf(&config));
    server.add_service(GatewayService {
        config,
        log,
        state,
        provider,
        over: Some(over),
    });
    server.run(RunArgs {
        shutdown_signal: Box::new(signal),
    });
    outcome.lock().take().unwrap_or(Ok(()))
}

/// Pingora's own settings. Its signals are ours, so its grace periods are zero: the default would
/// hold the process for five minutes.
fn server_conf(config: &GatewayConfig) -> ServerConf {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ServerConf {
        threads: config.threads.map_or(processors, usize::from),
        work_stealing: true,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    }
}

/// Makes aws-lc-rs the cryptography of the process, before anything of Pingora's can make it ring,
/// and checks that the key exchange is the post-quantum hybrid.
fn install_cryptography() -> anyhow::Result<Arc<CryptoProvider>> {
    // Somebody who was first must have chosen the same; that is checked below.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    drop(installed);
    let provider = CryptoProvider::get_default().context("no cryptography provider")?;
    let first = provider.kx_groups.first().map(|group| group.name());
    ensure!(
        first == Some(NamedGroup::X25519MLKEM768),
        "another cryptography provider was installed first: its key exchange is {first:?}, expected X25519MLKEM768"
    );
    Ok(Arc::clone(provider))
}

/// Takes every descriptor that the system grants: a connection costs one, often two.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
}
