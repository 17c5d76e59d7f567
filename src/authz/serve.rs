//! `portcullis authz serve`: an ext_authz server (`envoy.service.auth.v3.Authorization`) over our engine, so that any
//! Envoy or Istio proxy can ask it.

mod answer;
mod question;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dataplane::config::{AuthorizationMode, JwksConfig};
use dataplane::decisions::{Decisions, DecisionsConfig};
use dataplane::ext_authz::ExtAuthz;
use dataplane::tokens::Tokens;
use dataplane::{Access, PolicyStore, ProxyContext, RateLimiter, Role};
use http::HeaderName;
use identity::TrustDomain;
use policies::mesh::Mesh;
use policies::workload::Workload;
use prometheus::Registry;
use runtime::admin::Admin;
use runtime::documents::DocumentSource;
use runtime::health::Readiness;
use runtime::lifecycle::Lifecycle;
use runtime::listen::TakenPorts;
use runtime::log::{LogConfig, LogFormat};
use runtime::metrics::Metrics;

use crate::exit::{Context as _, Exit, Failure};
use crate::names::{DEFAULT_NAMESPACE, Label, TRUST_DOMAIN, check_label};
use crate::terminal;

/// How long open calls may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) const EXAMPLES: &str = "\
Examples:
  portcullis authz serve --policies policies/ --workload my-app/web
  portcullis authz serve --listen 127.0.0.1:9191 --policies policies/ --policies mesh.yaml \\
      --workload istio-system/edge --label app=edge --remote-ip-header x-envoy-external-address

Every question is judged as a sidecar of that workload would judge it: CUSTOM, RequestAuthentication, AUDIT, DENY and
ALLOW. A change of the documents holds for the next question; a set with errors is refused and the last good one stays.
Before there is a good one nothing is answered, which an Envoy takes for a denial unless it fails open.
The server speaks plaintext: listen on the loopback, or put it behind a proxy that authenticates who asks.
See docs/external-authorization.md for the Envoy and Istio side.";

/// What is judged, for whom, and where to listen.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; port 0 is any free one, and the first line printed tells which
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9191")]
    listen: SocketAddr,
    /// A file or directory of policy documents; may be repeated
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    policies: Vec<PathBuf>,
    /// A file with a MeshConfig, besides what the policies have
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The workload that requests are meant for
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    workload: String,
    /// A label of the workload; may be repeated [default: app=NAME]
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// The workload's service account [default: the name]
    #[arg(long, value_name = "ACCOUNT")]
    service_account: Option<String>,
    /// The trust domain of the mesh
    #[arg(long, value_name = "DOMAIN", default_value = TRUST_DOMAIN, value_parser = trust_domain)]
    trust_domain: String,
    /// The header in which the asking proxy says the client's address (`remote.ip`) [default: the direct peer counts]
    #[arg(long, value_name = "NAME")]
    remote_ip_header: Option<HeaderName>,
    /// Fetch key sets of RequestAuthentications from loopback and private addresses too
    #[arg(long)]
    jwks_allow_private: bool,
    /// Further certificate authorities for fetching key sets, as PEM
    #[arg(long, value_name = "FILE")]
    jwks_ca_file: Option<PathBuf>,
    /// Where /decisions, /explain, /rules, /readyz and /metrics are shown [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// A file that every denial, and a sample of the rest, is written to as JSON; `-` is standard output
    #[arg(long, value_name = "FILE")]
    decision_log: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug, or a filter
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

fn trust_domain(text: &str) -> Result<String, String> {
    let parsed = TrustDomain::parse(text).map_err(|error| error.to_string())?;
    Ok(parsed.as_str().to_owned())
}

impl Serve {
    fn context(&self) -> Result<ProxyContext, Failure> {
        let (namespace, name) = match self.workload.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None => (DEFAULT_NAMESPACE, self.workload.as_str()),
        };
        let account = self.service_account.as_deref().unwrap_or(name);
        for (what, text) in [
            ("namespace", namespace),
            ("workload", name),
            ("service account", account),
        ] {
            check_label(what, text).map_err(Failure::usage)?;
        }
        let labels = self.labels.iter();
        let mut labels: std::collections::BTreeMap<String, String> = labels
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect();
        if labels.is_empty() {
            labels.insert("app".to_owned(), name.to_owned());
        }
        Ok(ProxyContext {
            mesh: Mesh {
                trust_domain: self.trust_domain.clone(),
                default_namespace: namespace.to_owned(),
                ..Mesh::default()
            },
            workload: Workload {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                service_account: account.to_owned(),
                labels,
            },
            role: Role::Sidecar,
            credentials: None,
            resolver: dataplane::resolve::Resolver::default(),
        })
    }
}

/// Serves until the process is told to end.
pub(crate) fn run(args: &Serve) -> Result<Exit, Failure> {
    let context = args.context()?;
    let log = LogConfig {
        format: LogFormat::Text,
        level: args.log_level.clone(),
    };
    runtime::log::init(&log).context(|| "cannot start the log".to_owned())?;
    // Somebody else in this process may have been first; it is the same provider then.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("authz")
        .build()
        .context(|| "cannot start the tokio runtime".to_owned())?;
    let served = runtime.block_on(serve(args, context));
    runtime.shutdown_background();
    served.map(|()| Exit::Fine)
}

async fn serve(args: &Serve, context: ProxyContext) -> Result<(), Failure> {
    let life = Lifecycle::install(DRAIN).context(|| "cannot listen to signals".to_owned())?;
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener
        .local_addr()
        .context(|| "no local address".to_owned())?;
    let metrics = Metrics::new("authz", env!("CARGO_PKG_VERSION"))
        .context(|| "cannot make the metrics".to_owned())?;
    let registry = metrics.registry();
    let sources = args.policies.iter().chain(&args.mesh_config).cloned();
    let source = DocumentSource::new(sources.collect());
    let store = PolicyStore::start(source, None, context, registry)
        .context(|| "cannot follow the policies".to_owned())?;
    follow_reloads(&life, &store);
    let access = access(args, &store, registry)?;
    if let Some(admin) = args.admin {
        show(admin, &store, &access, metrics.clone())?;
    }
    let judge = server::Judge {
        store,
        access,
        remote_ip: args.remote_ip_header.clone(),
    };
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address may ask, and sees the answers: it speaks plaintext");
    }
    terminal::line(format_args!("listening on {address}"));
    server::serve(listener, judge, life)
        .await
        .context(|| "the server failed".to_owned())
}

/// What decides: as in a sidecar, without an identity of its own to show to providers.
fn access(args: &Serve, store: &PolicyStore, registry: &Registry) -> Result<Access, Failure> {
    let config = DecisionsConfig {
        log: args.decision_log.clone(),
        ..DecisionsConfig::default()
    };
    let decisions =
        Decisions::new(&config, store, registry).context(|| "cannot keep decisions".to_owned())?;
    let jwks = JwksConfig {
        allow_private: args.jwks_allow_private,
        ca_file: args.jwks_ca_file.clone(),
    };
    let tokens = Tokens::new(&jwks, registry).context(|| "cannot fetch keys".to_owned())?;
    let providers = ExtAuthz::new(identity::material::channel().1, registry)
        .context(|| "cannot ask providers".to_owned())?;
    Ok(Access {
        decisions,
        tokens,
        providers,
        // Envoy has a filter of its own for that.
        limits: RateLimiter::default(),
        mode: AuthorizationMode::Enforce,
    })
}

/// The admin port.
fn show(
    address: SocketAddr,
    store: &PolicyStore,
    access: &Access,
    metrics: Metrics,
) -> Result<(), Failure> {
    let listener = runtime::listen::bind(address, TakenPorts::Refuse, None)
        .context(|| format!("cannot listen on {address}"))?;
    let readiness = Readiness::new();
    let policy = readiness.condition("policy");
    let followed = store.clone();
    tokio::spawn(async move {
        followed.ready().await;
        policy.set_ready();
    });
    let admin = Admin::builder().metrics(metrics).readiness(readiness);
    let admin = dataplane::decisions::add(admin, store, &access.decisions).build();
    tokio::spawn(admin.serve(listener, std::future::pending()));
    Ok(())
}

/// SIGHUP reads the documents again.
fn follow_reloads(life: &Lifecycle, store: &PolicyStore) {
    let (mut asked, store) = (life.reloads(), store.clone());
    tokio::spawn(async move {
        while asked.changed().await.is_ok() {
            store.reload();
        }
    });
}
