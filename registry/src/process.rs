//! The registry as a process: its certificate, its listeners, its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use dataplane::identity_status;
use identity::keeper::KeeperState;
use runtime::admin::{Admin, AdminResponse};
use runtime::health::Readiness;
use runtime::lifecycle::Lifecycle;
use runtime::listen;
use runtime::log::LogHandle;
use runtime::metrics::Metrics;
use runtime::state_dir::StateDir;

use crate::config::Config;
use crate::pages;
use crate::server::{self, Shared};

const COMPONENT: &str = "registry";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the registry until it has drained.
pub(crate) async fn run(config: Config, log: LogHandle) -> anyhow::Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let _lock = state.lock()?;
    let life = Lifecycle::install(config.drain_timeout).context("cannot listen to signals")?;
    let metrics = Metrics::new(COMPONENT, VERSION)?;
    let readiness = Readiness::new();
    let previous = state.ports().unwrap_or_default();
    let bind = |name: &str, wanted| {
        let before = previous.get(name).copied();
        listen::bind(wanted, config.taken_ports, before)
            .with_context(|| format!("listener `{name}`"))
    };
    let grpc = bind("grpc", config.listen)?;
    let admin = config.admin.map(|admin| bind("admin", admin)).transpose()?;
    let mut ports = BTreeMap::from([("grpc".to_owned(), grpc.local_addr()?)]);
    if let Some(admin) = &admin {
        ports.insert("admin".to_owned(), admin.local_addr()?);
    }
    state.publish_ports(&ports)?;

    let keeper = identity::keeper::spawn(config.identity.clone())?;
    identity_status::register(metrics.registry(), keeper.status())?;
    let shared = Shared::new(
        config.lease,
        keeper.material(),
        life.clone(),
        metrics.registry(),
    )?;
    let shared = Arc::new(shared);
    let condition = readiness.condition("identity");
    let mut status = keeper.status();
    tokio::spawn(async move {
        loop {
            match status.borrow_and_update().state {
                KeeperState::Valid | KeeperState::Failing => condition.set_ready(),
                KeeperState::Waiting => condition.set_not_ready("waiting for a certificate"),
            }
            if status.changed().await.is_err() {
                return;
            }
        }
    });
    if let Some(listener) = admin {
        let pages = pages::add(Admin::builder(), &shared, &keeper, &readiness)
            .metrics(metrics)
            .readiness(readiness)
            .version(COMPONENT, VERSION)
            .logging(log)
            .post("/identity/renew", move |_| {
                keeper.renew_now();
                async { AdminResponse::text(http::StatusCode::ACCEPTED, "renewal asked for\n") }
            })
            .build();
        tokio::spawn(pages.serve(listener, std::future::pending()));
    }
    tokio::spawn(server::keep_leases(Arc::clone(&shared)));
    tracing::info!(version = VERSION, ?ports, "registry started");
    server::serve(grpc, shared, config.connections).await
}
