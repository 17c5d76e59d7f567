//! The gateway as a service of Pingora's server: started, made ready, drained, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use dataplane::decisions::Decisions;
use dataplane::ext_authz::ExtAuthz;
use dataplane::forward::ForwardSettings;
use dataplane::identity_status;
use dataplane::registry::Watching;
use dataplane::resolve::Resolver;
use dataplane::shed::Shedder;
use dataplane::tcp::Carrier;
use dataplane::telemetry::{AccessLog, LogTarget, RequestMetrics, TcpMetrics};
use dataplane::tokens::Tokens;
use dataplane::upstream::Limits;
use dataplane::{
    Access, EndpointSource, Forwarder, HealthChecks, PolicyStore, ProxyContext, RateLimiter, Role,
    Router, Snapshot, Upstreams,
};
use identity::keeper::{self, IdentityConfig, IdentityKeeper};
use pingora::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use policies::mesh::Mesh;
use policies::workload::Workload;
use runtime::documents::DocumentSource;
use runtime::health::Readiness;
use runtime::lifecycle::{Drained, Lifecycle};
use runtime::listen::bind;
use runtime::log::LogHandle;
use runtime::metrics::Metrics;
use runtime::published::Published;
use runtime::state_dir::StateDir;
use rustls::crypto::CryptoProvider;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tracing::{error, info, warn};

use crate::accept::Door;
use crate::admin;
use crate::certificates::Certificates;
use crate::config::GatewayConfig;
use crate::credentials::CredentialDirectory;
use crate::gateway::{EdgeRules, Gateway};
use crate::pace::Timeouts;
use crate::status::StatusSources;
use crate::tcp::TcpDoor;
use crate::tls::TlsTerminator;

/// How long the last lines of a log may take to be written.
const LAST_LINES: std::time::Duration = std::time::Duration::from_secs(2);

/// The one service of the process.
#[derive(Debug)]
pub(crate) struct GatewayService {
    pub(crate) config: GatewayConfig,
    pub(crate) log: LogHandle,
    pub(crate) state: Arc<StateDir>,
    pub(crate) provider: Arc<CryptoProvider>,
    /// Told when the service is over, and how.
    pub(crate) over: Option<oneshot::Sender<anyhow::Result<()>>>,
}

/// Ends Pingora's server as soon as the service is over. Its own signals and grace periods are not
/// used: ours drain by what is under way, not by the clock.
#[derive(Debug)]
pub(crate) struct WhenOver {
    pub(crate) over: Mutex<Option<oneshot::Receiver<anyhow::Result<()>>>>,
    pub(crate) outcome: Arc<parking_lot::Mutex<Option<anyhow::Result<()>>>>,
}

#[async_trait]
impl ShutdownSignalWatch for WhenOver {
    async fn recv(&self) -> ShutdownSignal {
        if let Some(over) = self.over.lock().await.take() {
            let outcome = over
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the service died")));
            *self.outcome.lock() = Some(outcome);
        }
        ShutdownSignal::FastShutdown
    }
}

#[async_trait]
impl Service for GatewayService {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let outcome = self.run().await;
        if let Some(over) = self.over.take()
            && over.send(outcome).is_err()
        {
            error!("nobody waits for the end of the gateway");
        }
    }

    fn name(&self) -> &'static str {
        "gateway"
    }
}

impl GatewayService {
    /// The life of the gateway, from its first task to its last connection.
    async fn run(&self) -> anyhow::Result<()> {
        let lifecycle = Lifecycle::install(self.config.drain.timeout)?;
        let metrics = Metrics::new("gateway", env!("CARGO_PKG_VERSION"))?;
        let readiness = Readiness::new();
        let keeper = keeper::spawn(self.identity()?)?;
        follow_identity(&keeper, &readiness);
        identity_status::register(metrics.registry(), keeper.status())?;
        let watching = self.watch(&keeper)?;
        let policies = PolicyStore::start(
            DocumentSource::new(self.config.policies.clone()),
            watching
                .clone()
                .map(|watching| -> Arc<dyn EndpointSource> { Arc::new(watching) }),
            self.context(),
            metrics.registry(),
        )?;
        dataplane::breakers::register(&policies, metrics.registry())?;
        let mapped = self.config.listeners.keys().copied().collect();
        follow_policies(&policies, mapped, &readiness, &lifecycle);
        let terminator = Arc::new(TlsTerminator::default());
        let credentials =
            self.keep_certificates(&policies, &keeper, &terminator, &readiness, &lifecycle);

        let bound = readiness.condition("listeners");
        let listeners = Arc::new(Published::new(BTreeMap::new()));
        let decisions = Decisions::new(&self.config.decisions, &policies, metrics.registry())?;
        decisions.reopen_on_sigusr1()?;
        let sources = StatusSources {
            workload: format!(
                "{}/{}",
                self.config.workload.namespace, self.config.workload.name
            ),
            keeper: keeper.clone(),
            policies: policies.clone(),
            readiness: readiness.clone(),
            credentials,
            authorization: self.config.authorization,
            listeners: Arc::clone(&listeners),
            watching,
            decisions: decisions.clone(),
        };
        let mut ports = self.open_admin(&sources, metrics.clone(), &lifecycle)?;

        let upstreams = Upstreams::new(keeper.material(), Limits::default());
        upstreams.register(metrics.registry())?;
        let access_log = AccessLog::start(
            LogTarget::from_path(self.config.access_log.path.clone()),
            metrics.registry(),
        )?;
        access_log.reopen_on_sigusr1()?;
        let access = self.access(&keeper, metrics.registry(), &policies, decisions.clone())?;
        let rules = EdgeRules {
            trusted_proxies: self.config.gateway_topology.num_trusted_proxies.into(),
            path: self.config.path.forward,
            sizes: self.config.limits.sizes(),
        };
        let forwarder = Forwarder::new(upstreams.clone()).with(ForwardSettings {
            retry: self.config.retry,
            stream_idle: Some(self.config.timeouts.stream_idle),
        });
        forwarder.register(metrics.registry())?;
        let checks = HealthChecks::new(keeper.material(), metrics.registry())?;
        checks.follow(&policies);
        let router = Router::new(forwarder, access.limits.clone())?;
        router.register(metrics.registry())?;
        let requests = Arc::new(RequestMetrics::new(
            metrics.registry(),
            RequestMetrics::DEFAULT_MAX_SERIES,
        )?);
        let carrier = Arc::new(Carrier {
            store: policies.clone(),
            material: keeper.material(),
            access: access.clone(),
            metrics: TcpMetrics::new(
                metrics.registry(),
                &requests,
                RequestMetrics::DEFAULT_MAX_SERIES,
            )?,
            access_log: access_log.clone(),
            id: Some(self.config.spiffe_id()?),
        });
        let shedder = Shedder::new(self.config.overload.as_ref(), metrics.registry())?;
        let gateway = Gateway::new(
            policies,
            router,
            requests,
            access_log.clone(),
            access.clone(),
            Some(&self.config.spiffe_id()?),
        );
        let gateway = Arc::new(gateway.with_rules(rules).with_shedder(shedder));

        bound.set_not_ready("waiting for the other conditions");
        if all_but_listeners(&readiness, &lifecycle).await {
            let opened = self.open_doors(&gateway, &carrier, &terminator, &lifecycle)?;
            for (port, address) in &opened {
                ports.insert(format!("listener:{port}"), *address);
            }
            self.state.publish_ports(&ports)?;
            info!(listeners = ?opened, "the gateway is open");
            listeners.store(Arc::new(opened));
            bound.set_ready();
        }
        match lifecycle.drained().await {
            Drained::Clean => info!("drained"),
            Drained::Cut { open } => warn!(open, "the drain's time is over; connections are cut"),
        }
        upstreams.close_idle();
        checks.close_idle();
        access.providers.close_idle();
        access.limits.close_idle();
        access_log.flush(LAST_LINES);
        decisions.flush(LAST_LINES);
        Ok(())
    }

    /// Starts to follow the mesh's registry, if the process file names one.
    fn watch(&self, keeper: &IdentityKeeper) -> anyhow::Result<Option<Watching>> {
        let Some(registry) = &self.config.registry else {
            return Ok(None);
        };
        let expected = registry
            .expected(&self.config.trust_domain()?, &self.config.root_namespace)
            .context("`registry.identity`")?;
        Ok(Some(Watching::start(registry, expected, keeper.material())))
    }

    fn identity(&self) -> anyhow::Result<IdentityConfig> {
        let section = &self.config.identity;
        Ok(IdentityConfig {
            trust_domain: self.config.trust_domain()?,
            ca: section.ca.clone(),
            join_token: section.join_token.clone(),
            state_dir: self.config.state_dir.clone(),
            spiffe_id: Some(self.config.spiffe_id()?),
            ttl: section.ttl,
        })
    }

    fn context(&self) -> ProxyContext {
        let workload = &self.config.workload;
        ProxyContext {
            mesh: Mesh {
                trust_domain: self.config.identity.trust_domain.clone(),
                root_namespace: self.config.root_namespace.clone(),
                default_namespace: self.config.default_namespace.clone(),
                ..Mesh::default()
            },
            workload: Workload {
                name: workload.name.clone(),
                namespace: workload.namespace.clone(),
                service_account: workload.service_account.clone(),
                labels: workload.labels.clone(),
            },
            role: Role::Gateway,
            credentials: self.config.credentials.as_deref().map(Arc::from),
            resolver: Resolver::default(),
        }
    }

    /// What decides about requests.
    fn access(
        &self,
        keeper: &IdentityKeeper,
        registry: &prometheus::Registry,
        store: &PolicyStore,
        decisions: Decisions,
    ) -> anyhow::Result<Access> {
        let access = Access {
            providers: ExtAuthz::new(keeper.material(), registry)?,
            decisions,
            tokens: Tokens::new(&self.config.jwks, registry)?,
            limits: RateLimiter::new(keeper.material()),
            mode: self.config.authorization.mode,
        };
        access.announce(registry)?;
        access.limits.publish(store, registry)?;
        access.tokens.follow(store);
        Ok(access)
    }

    fn keep_certificates(
        &self,
        policies: &PolicyStore,
        keeper: &IdentityKeeper,
        terminator: &Arc<TlsTerminator>,
        readiness: &Readiness,
        lifecycle: &Lifecycle,
    ) -> Arc<Published<crate::certificates::CredentialProblems>> {
        let problems = Arc::new(Published::new(BTreeMap::new()));
        let certificates = Certificates {
            policies: policies.clone(),
            directory: self
                .config
                .credentials
                .clone()
                .map(CredentialDirectory::new),
            edge: self.config.edge.self_signed.then(|| keeper.clone()),
            state: Arc::clone(&self.state),
            terminator: Arc::clone(terminator),
            provider: Arc::clone(&self.provider),
            ready: Some(readiness.condition("certificates")),
            problems: Arc::clone(&problems),
        };
        tokio::spawn(certificates.run(lifecycle.reloads()));
        problems
    }

    /// Opens the operators' port at once, so that they can see what is waited for.
    fn open_admin(
        &self,
        sources: &StatusSources,
        metrics: Metrics,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let mut ports = BTreeMap::new();
        let Some(address) = self.config.admin else {
            return Ok(ports);
        };
        let previous = self.previous_ports().get("admin").copied();
        let listener = bind(address, self.config.taken_ports, previous).context("admin port")?;
        ports.insert("admin".to_owned(), listener.local_addr()?);
        let pages = admin::pages(sources, metrics, self.log.clone(), lifecycle);
        // It outlives the drain, which operators want to watch; the process's end ends it.
        tokio::spawn(pages.serve(listener, std::future::pending()));
        self.state.publish_ports(&ports)?;
        Ok(ports)
    }

    /// Binds every listener and begins to accept.
    fn open_doors(
        &self,
        gateway: &Arc<Gateway>,
        carrier: &Arc<Carrier>,
        terminator: &Arc<TlsTerminator>,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<BTreeMap<u16, SocketAddr>> {
        let previous = self.previous_ports();
        let mut opened = BTreeMap::new();
        let mut doors = Vec::new();
        let places = Arc::new(Semaphore::new(places(self.config.limits.connections)));
        for (&port, &address) in &self.config.listeners {
            let before = previous.get(&format!("listener:{port}")).copied();
            let listener = bind(address, self.config.taken_ports, before)
                .with_context(|| format!("listener of port {port}"))?;
            opened.insert(port, listener.local_addr()?);
            let door = Door {
                app: Arc::clone(gateway),
                port,
                opaque: Some(TcpDoor::new(
                    gateway,
                    carrier,
                    port,
                    self.config.timeouts.tcp_idle,
                )),
                tls: Arc::clone(terminator),
                timeouts: Timeouts::from(self.config.timeouts),
                places: Arc::clone(&places),
                connections: lifecycle.connections().clone(),
                draining: lifecycle.draining(),
            };
            doors.push((Arc::new(door), TcpListener::from_std(listener)?));
        }
        for (door, listener) in doors {
            tokio::spawn(door.accept(listener));
        }
        Ok(opened)
    }

    fn previous_ports(&self) -> BTreeMap<String, SocketAddr> {
        self.state.ports().unwrap_or_default()
    }
}

/// How many client connections may be open: strangers must not take the descriptors that upstream connections need.
fn places(wanted: u32) -> usize {
    use rustix::process::{Resource, getrlimit};
    let granted = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let places = u64::from(wanted).min(granted / 2).max(1);
    usize::try_from(places)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

/// Keeps the `identity` condition: a valid certificate.
fn follow_identity(keeper: &IdentityKeeper, readiness: &Readiness) {
    let condition = readiness.condition("identity");
    let mut status = keeper.status();
    tokio::spawn(async move {
        loop {
            {
                let now = status.borrow_and_update();
                match now.state {
                    keeper::KeeperState::Waiting => condition.set_not_ready(
                        now.last_error
                            .clone()
                            .unwrap_or_else(|| "no certificate from the CA yet".to_owned()),
                    ),
                    keeper::KeeperState::Valid | keeper::KeeperState::Failing => {
                        condition.set_ready();
                    }
                }
                info!(
                    state = identity_status::state_name(now.state),
                    serial = now.serial,
                    "identity"
                );
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Keeps the `policies` condition, reports ports that nobody maps, and passes reloads on.
fn follow_policies(
    policies: &PolicyStore,
    mapped: BTreeSet<u16>,
    readiness: &Readiness,
    lifecycle: &Lifecycle,
) {
    let condition = readiness.condition("policies");
    let mut moved = policies.subscribe();
    let store = policies.clone();
    tokio::spawn(async move {
        loop {
            if let Some(snapshot) = store.snapshot() {
                condition.set_ready();
                report_unmapped(&snapshot, &mapped);
            } else if store.state().rejected.is_some() {
                condition.set_not_ready("the policy documents are refused; see the log or /status");
            }
            if moved.changed().await.is_err() {
                return;
            }
        }
    });
    let mut reloads = lifecycle.reloads();
    let store = policies.clone();
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            store.reload();
        }
    });
}

/// Says which ports of `Gateway` documents lead nowhere: the mapping is the process's, not theirs.
fn report_unmapped(snapshot: &Snapshot, mapped: &BTreeSet<u16>) {
    let ports = snapshot
        .listeners
        .iter()
        .flat_map(|listeners| &listeners.ports);
    for port in ports.filter(|port| !mapped.contains(&port.number)) {
        let server = port.servers.first();
        error!(
            port = port.number,
            at = server.map(|server| server.at.to_string()),
            "a Gateway server's port is not served: add it to `listeners`"
        );
    }
}

/// Waits until nothing but the listeners is missing. False when the process drains first.
async fn all_but_listeners(readiness: &Readiness, lifecycle: &Lifecycle) -> bool {
    loop {
        let report = readiness.report();
        if report
            .waiting_for
            .iter()
            .all(|waiting| waiting.condition == "listeners")
        {
            return true;
        }
        tokio::select! {
            () = lifecycle.drain_begun() => return false,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
    }
}
