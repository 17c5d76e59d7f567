//! The sidecar as a process: builds the parts, opens the listeners, serves until it has drained.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use dataplane::chaos::{self, Chaos};
use dataplane::decisions::Decisions;
use dataplane::ext_authz::ExtAuthz;
use dataplane::forward::ForwardSettings;
use dataplane::identity_status;
use dataplane::registry::{Registering, RegisteringStatus, Watching};
use dataplane::shed::Shedder;
use dataplane::tcp::Carrier;
use dataplane::telemetry::{AccessLog, Party, RequestMetrics, TcpMetrics};
use dataplane::tokens::Tokens;
use dataplane::upstream::Limits as UpstreamLimits;
use dataplane::{
    Access, Forwarder, HealthChecks, PolicyStore, ProxyContext, RateLimiter, Role, Router,
    Upstreams,
};
use http::StatusCode;
use identity::keeper::{IdentityKeeper, KeeperState};
use runtime::admin::{Admin, AdminResponse};
use runtime::documents::DocumentSource;
use runtime::health::{ConditionHandle, Readiness};
use runtime::lifecycle::{Drained, Lifecycle};
use runtime::listen;
use runtime::log::LogHandle;
use runtime::metrics::Metrics;
use runtime::state_dir::StateDir;
use tokio::sync::Semaphore;

use crate::config::{Allow, AppProtocol, Config};
use crate::dapr::Dapr;
use crate::discovery;
use crate::http::HttpServer;
use crate::inbound::Inbound;
use crate::outbound::Outbound;
use crate::probe;
use crate::proxy::{Names, Proxy};
use crate::registration;
use crate::tcp::{TcpInbound, TcpOutbound};
use crate::{accept, status};

pub(crate) const COMPONENT: &str = "sidecar";
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long traffic waits in the kernel's queue for the first certificate and the first good documents; a restart
/// takes a fraction of it. Afterwards callers are told that the sidecar is not ready.
const FIRST_READY: Duration = Duration::from_secs(2);

/// How long a log may take to be written out at the end.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What the admin port shows.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) keeper: IdentityKeeper,
    pub(crate) readiness: Readiness,
    /// What is known of the mesh's registry, if there is one.
    pub(crate) watching: Option<Watching>,
    /// Whether the workload is registered, if it is to be.
    pub(crate) registering: Option<Arc<ArcSwap<RegisteringStatus>>>,
}

/// Runs the sidecar until it has drained.
pub(crate) async fn run(config: Config, log: LogHandle) -> anyhow::Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let _lock = state.lock()?;
    let life = Lifecycle::install(config.drain_timeout).context("cannot listen to signals")?;
    let metrics = Metrics::new(COMPONENT, VERSION)?;
    let readiness = Readiness::new();
    let listeners = Listeners::bind(&config, &state)?;

    let keeper = identity::keeper::spawn(config.identity.clone())?;
    let watching = discovery::watch(&config, &keeper.material())?;
    let proxy = build(&config, &keeper, watching.as_ref(), &metrics, &life)?;
    let application = listeners.inbound_ports()?;
    let registering = registration::start(&config, &application, &keeper.material(), &readiness)?;
    let parts = Parts {
        proxy: Arc::new(proxy),
        keeper,
        readiness,
        watching,
        registering: registering.as_ref().map(Registering::status),
    };
    let checks = HealthChecks::new(parts.keeper.material(), metrics.registry())?;
    checks.follow(&parts.proxy.store);
    follow_identity(&parts);
    follow_policy(&parts);
    follow_signals(&parts);
    listeners.open(&config, &parts, admin(&parts, metrics, log));
    tracing::info!(
        version = VERSION,
        workload = config.workload.name,
        identity = config.id.as_str(),
        "sidecar started"
    );

    life.drain_begun().await;
    if let Some(registering) = registering {
        registering.leave().await;
    }
    parts.proxy.forwarder.upstreams.close_idle();
    parts.proxy.access.providers.close_idle();
    parts.proxy.access.limits.close_idle();
    checks.close_idle();
    match life.drained().await {
        Drained::Clean => tracing::info!("drained, goodbye"),
        Drained::Cut { open } => tracing::warn!(open, "drain deadline passed, connections cut"),
    }
    parts.proxy.access_log.flush(LAST_LINES);
    parts.proxy.access.decisions.flush(LAST_LINES);
    Ok(())
}

fn build(
    config: &Config,
    keeper: &IdentityKeeper,
    watching: Option<&Watching>,
    metrics: &Metrics,
    life: &Lifecycle,
) -> anyhow::Result<Proxy> {
    let context = ProxyContext {
        mesh: config.mesh.clone(),
        workload: config.workload.clone(),
        role: Role::Sidecar,
        credentials: None,
        resolver: dataplane::resolve::Resolver::default(),
    };
    let registry = metrics.registry();
    let documents = DocumentSource::new(config.policies.clone());
    let store = PolicyStore::start(documents, discovery::source(watching), context, registry)?;
    dataplane::breakers::register(&store, registry)?;
    let requests = RequestMetrics::new(registry, RequestMetrics::DEFAULT_MAX_SERIES)?;
    let tcp = TcpMetrics::new(registry, &requests, RequestMetrics::DEFAULT_MAX_SERIES)?;
    let access_log = AccessLog::start(config.access_log.clone(), registry)?;
    access_log
        .reopen_on_sigusr1()
        .context("cannot listen to SIGUSR1")?;
    let workload = &config.workload;
    let party = requests.party(&Party::workload(
        &workload.name,
        &workload.namespace,
        Some(&config.id),
        |label| workload.labels.get(label).map(String::as_str),
    ));
    let upstreams = Upstreams::new(keeper.material(), UpstreamLimits::default());
    upstreams.register(registry)?;
    identity_status::register(registry, keeper.status())?;
    let forwarder = Forwarder::new(upstreams).with(ForwardSettings {
        retry: config.retry,
        stream_idle: config.timeouts.stream_idle,
    });
    forwarder.register(registry)?;
    let access = access(config, keeper, &store, registry)?;
    let carrier = Carrier {
        store: store.clone(),
        material: keeper.material(),
        access: access.clone(),
        metrics: tcp,
        access_log: access_log.clone(),
        id: Some(config.id.clone()),
    };
    let router = Router::new(forwarder.clone(), access.limits.clone())?;
    router.register(registry)?;
    Ok(Proxy {
        chaos: match config.chaos {
            Allow::Yes => Chaos::allowed(&workload.name, registry)?,
            Allow::No => Chaos::default(),
        },
        store,
        material: keeper.material(),
        router,
        access,
        forwarder,
        shedder: Shedder::new(config.overload.as_ref(), registry)?,
        sizes: config.limits.sizes(),
        path: config.path.forward,
        metrics: requests,
        tcp: Arc::new(carrier),
        access_log,
        life: life.clone(),
        id: config.id.clone(),
        workload: workload.clone(),
        gateways: config.gateways.clone(),
        party,
        names: ArcSwap::from_pointee(Names::default()),
    })
}

/// What decides about requests.
fn access(
    config: &Config,
    keeper: &IdentityKeeper,
    store: &PolicyStore,
    registry: &prometheus::Registry,
) -> anyhow::Result<Access> {
    let decisions = Decisions::new(&config.decisions, store, registry)?;
    decisions
        .reopen_on_sigusr1()
        .context("cannot listen to SIGUSR1")?;
    let access = Access {
        providers: ExtAuthz::new(keeper.material(), registry)?,
        decisions,
        tokens: Tokens::new(&config.jwks, registry)?,
        limits: RateLimiter::new(keeper.material()),
        mode: config.authorization.mode,
    };
    access.announce(registry)?;
    access.limits.publish(store, registry)?;
    access.tokens.follow(store);
    Ok(access)
}

/// Ready while there is a certificate that has not expired; a CA that is gone is told and waited for.
fn follow_identity(parts: &Parts) {
    let condition = parts.readiness.condition("identity");
    let mut status = parts.keeper.status();
    tokio::spawn(async move {
        loop {
            let now = status.borrow_and_update().clone();
            match now.state {
                KeeperState::Valid | KeeperState::Failing => condition.set_ready(),
                KeeperState::Waiting => condition.set_not_ready(match now.last_error {
                    Some(error) => format!("no valid certificate: {error}"),
                    None => "waiting for the first certificate".to_owned(),
                }),
            }
            if status.changed().await.is_err() {
                condition.set_not_ready("the identity keeper has stopped");
                return;
            }
        }
    });
}

/// Ready once there is a good generation; it stays in force whatever is edited later.
fn follow_policy(parts: &Parts) {
    let condition = parts.readiness.condition("policy");
    let store = parts.proxy.store.clone();
    tokio::spawn(async move {
        let mut moved = store.subscribe();
        loop {
            let state = store.state();
            match (&state.snapshot, &state.rejected) {
                (Some(_), _) => {
                    condition.set_ready();
                    return;
                }
                (None, Some(_)) => {
                    condition
                        .set_not_ready("the documents have errors; see policy.rejected of /status");
                }
                (None, None) => condition.set_not_ready("reading the documents"),
            }
            drop(state);
            if moved.changed().await.is_err() {
                return;
            }
        }
    });
}

/// SIGHUP reads the documents again; the drain makes us unready.
fn follow_signals(parts: &Parts) {
    let life = parts.proxy.life.clone();
    let store = parts.proxy.store.clone();
    let mut reloads = life.reloads();
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            store.reload();
        }
    });
    let serving: ConditionHandle = parts.readiness.condition("serving");
    serving.set_ready();
    let life = parts.proxy.life.clone();
    tokio::spawn(async move {
        life.drain_begun().await;
        serving.set_not_ready("draining");
    });
}

fn admin(parts: &Parts, metrics: Metrics, log: LogHandle) -> Admin {
    let shown = parts.clone();
    let keeper = parts.keeper.clone();
    let store = parts.proxy.store.clone();
    let pages = dataplane::pages::add(Admin::builder(), &store);
    let pages = dataplane::registry::page::add(
        pages,
        &store,
        parts.watching.as_ref(),
        parts.registering.clone(),
    );
    let pages = dataplane::breakers::add(pages, &store);
    let pages = chaos::add(pages, &store, &parts.proxy.chaos);
    dataplane::decisions::add(pages, &store, &parts.proxy.access.decisions)
        .metrics(metrics)
        .readiness(parts.readiness.clone())
        .version(COMPONENT, VERSION)
        .logging(log)
        .get("/status", move |_| {
            let page = status::page(&shown);
            async move { page }
        })
        .post("/identity/renew", move |_| {
            keeper.renew_now();
            async { AdminResponse::text(StatusCode::ACCEPTED, "renewal asked for\n") }
        })
        .post("/reload", move |_| {
            store.reload();
            async { AdminResponse::text(StatusCode::ACCEPTED, "reload asked for\n") }
        })
        .build()
}

/// Every socket of the process, bound before anything is served.
struct Listeners {
    inbound: Vec<TcpListener>,
    outbound: Option<TcpListener>,
    upstreams: Vec<TcpListener>,
    dapr: Vec<TcpListener>,
    probe: Option<TcpListener>,
    admin: Option<TcpListener>,
}

impl Listeners {
    fn bind(config: &Config, state: &StateDir) -> anyhow::Result<Self> {
        let previous = state.ports().unwrap_or_else(|error| {
            tracing::warn!(%error, "the ports of the last start are forgotten");
            BTreeMap::new()
        });
        let mut ports = BTreeMap::new();
        let mut bind = |name: String, wanted: SocketAddr| -> anyhow::Result<TcpListener> {
            let before = previous.get(&name).copied();
            let listener = listen::bind(wanted, config.taken_ports, before)
                .with_context(|| format!("listener `{name}`"))?;
            ports.insert(name, listener.local_addr()?);
            Ok(listener)
        };
        let inbound = config
            .inbound
            .iter()
            .map(|port| bind(format!("inbound:{}", port.port), port.listen))
            .collect::<anyhow::Result<_>>()?;
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| bind(upstream.name(), upstream.listen))
            .collect::<anyhow::Result<_>>()?;
        let dapr = [
            ("dapr-http", config.dapr.http),
            ("dapr-grpc", config.dapr.grpc),
        ];
        let dapr = dapr
            .into_iter()
            .filter_map(|(name, wanted)| Some(bind(name.to_owned(), wanted?)))
            .collect::<anyhow::Result<_>>()?;
        let mut optional = |name: &str, wanted: Option<SocketAddr>| {
            wanted
                .map(|wanted| bind(name.to_owned(), wanted))
                .transpose()
        };
        let listeners = Self {
            inbound,
            upstreams,
            dapr,
            outbound: optional("outbound", config.outbound)?,
            probe: optional("probe", config.probe.as_ref().map(|probe| probe.listen))?,
            admin: optional("admin", config.admin)?,
        };
        state.publish_ports(&ports)?;
        Ok(listeners)
    }

    /// Where the workload's ports really listen, in the order of the configuration.
    fn inbound_ports(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.inbound.iter().map(TcpListener::local_addr).collect()
    }

    /// Starts a task per listener.
    fn open(self, config: &Config, parts: &Parts, admin: Admin) {
        let life = &parts.proxy.life;
        let limits = config.limits;
        let timeouts = config.timeouts;
        let server = || HttpServer::new(&limits, timeouts, life.clone());
        let places = Arc::new(Semaphore::new(
            limits.connections.min(Semaphore::MAX_PERMITS),
        ));
        for (listener, port) in self.inbound.into_iter().zip(&config.inbound) {
            let proxy = Arc::clone(&parts.proxy);
            if port.protocol == AppProtocol::Tcp {
                let door = Arc::new(TcpInbound::new(proxy, &timeouts, port));
                let accepting = accept::accept(
                    listener,
                    Arc::clone(&places),
                    life.clone(),
                    move |tcp, remote| Arc::clone(&door).serve(tcp, remote),
                );
                spawn("inbound", when_ready(&parts.readiness, accepting));
                continue;
            }
            let door = Arc::new(Inbound::new(proxy, server(), timeouts.handshake, port));
            let accepting = accept::accept(
                listener,
                Arc::clone(&places),
                life.clone(),
                move |tcp, remote| Arc::clone(&door).serve(tcp, remote),
            );
            spawn("inbound", when_ready(&parts.readiness, accepting));
        }
        let places = Arc::new(Semaphore::new(
            limits.connections.min(Semaphore::MAX_PERMITS),
        ));
        for (listener, upstream) in self.upstreams.into_iter().zip(&config.upstreams) {
            let proxy = Arc::clone(&parts.proxy);
            let door = Arc::new(TcpOutbound::new(proxy, &timeouts, upstream));
            let accepting = accept::accept(
                listener,
                Arc::clone(&places),
                life.clone(),
                move |tcp, remote| Arc::clone(&door).serve(tcp, remote),
            );
            spawn("upstream", when_ready(&parts.readiness, accepting));
        }
        for listener in self.dapr {
            let outbound = Arc::new(Outbound::new(Arc::clone(&parts.proxy), server()));
            let (proxy, readiness) = (Arc::clone(&parts.proxy), parts.readiness.clone());
            let door = Arc::new(Dapr::new(proxy, outbound, server(), readiness));
            // At once: its health is asked for before the sidecar is ready.
            let accepting = accept::accept(
                listener,
                Arc::clone(&places),
                life.clone(),
                move |tcp, remote| Arc::clone(&door).serve(tcp, remote),
            );
            spawn("dapr", accepting);
        }
        if let Some(listener) = self.outbound {
            let door = Arc::new(Outbound::new(Arc::clone(&parts.proxy), server()));
            let accepting = accept::accept(listener, places, life.clone(), move |tcp, remote| {
                Arc::clone(&door).serve(tcp, remote)
            });
            spawn("outbound", when_ready(&parts.readiness, accepting));
        }
        if let Some(listener) = self.probe {
            let pages = probe::pages(parts.readiness.clone(), probe::App::of(config));
            // Health and admin are served to the very end: a drain is watched there.
            spawn("probe", pages.serve(listener, std::future::pending()));
        }
        if let Some(listener) = self.admin {
            spawn("admin", admin.serve(listener, std::future::pending()));
        }
    }
}

/// Accepts once the sidecar is ready, or after [`FIRST_READY`].
fn when_ready<T>(
    readiness: &Readiness,
    accepting: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let mut ready = readiness.subscribe();
    async move {
        let first = ready.wait_for(|ready| *ready);
        drop(tokio::time::timeout(FIRST_READY, first).await);
        accepting.await
    }
}

fn spawn(name: &'static str, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(listener = name, %error, "listener failed");
        }
    });
}
