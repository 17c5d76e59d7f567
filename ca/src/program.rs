//! The whole authority, assembled: loads or makes everything, binds, serves, and keeps itself in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use identity::material::MaterialReader;
use runtime::admin::Admin;
use runtime::health::Readiness;
use runtime::lifecycle::Lifecycle;
use runtime::log::LogHandle;
use runtime::state_dir::{StateDir, StateLock};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::authority::sealed_key::Passphrase;
use crate::authority::shelf::{History, Shelf};
use crate::bundle::{self, BundlePublisher};
use crate::config::{Config, Profile};
use crate::edge::Edge;
use crate::issuance::{Issuance, Parts};
use crate::metrics::Metrics;
use crate::server;
use crate::store::Store;
use crate::store::sled_store::SledStore;

mod housekeeping;
mod status;

/// The directory of the store inside the state directory.
pub const STORE: &str = "store";

/// An authority that runs.
#[derive(Debug)]
pub struct Running {
    /// Where workloads reach it.
    pub grpc: SocketAddr,
    /// Where metrics and health are shown.
    pub admin: SocketAddr,
    /// What answers calls.
    pub issuance: Arc<Issuance>,
    /// Our own material: the server's certificate and the bundle.
    pub reader: MaterialReader,
    /// Whether it is ready.
    pub readiness: Readiness,
    life: Lifecycle,
    tasks: JoinSet<anyhow::Result<()>>,
    _lock: StateLock,
}

impl Running {
    /// Waits until everything has ended: after the drain, or because a part failed.
    pub async fn finished(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended
                .context("a part of the authority stopped")
                .and_then(|ended| ended);
            if let Err(error) = ended {
                tracing::error!(
                    error = format!("{error:#}"),
                    "a part of the authority failed"
                );
                outcome = outcome.and(Err(error));
            }
            // One part less is no authority.
            self.life.begin_drain();
        }
        self.issuance
            .store()
            .close()
            .await
            .context("the store could not be closed")?;
        outcome
    }
}

/// Starts the authority. Call inside a tokio runtime, with the process's crypto provider installed.
pub async fn start(
    config: &Config,
    life: Lifecycle,
    log: Option<LogHandle>,
) -> anyhow::Result<Running> {
    let dir = StateDir::open(&config.state_dir)?;
    let lock = dir.lock()?;
    let readiness = Readiness::new();
    let conditions = housekeeping::Conditions::new(&readiness);
    let registered = runtime::metrics::Metrics::new("ca", env!("CARGO_PKG_VERSION"))?;
    let metrics = Metrics::register(registered.registry())?;

    let store: Arc<dyn Store> = Arc::new(SledStore::open(&dir.path().join(STORE))?);
    let history = if store.totals().issued == 0 {
        History::Fresh
    } else {
        History::Issued
    };
    let shelf = shelf(config, dir.clone())?;
    let authority = shelf.authority(history, SystemTime::now())?;
    let edge = edge(config, &shelf)?;
    let others = additional_roots(config)?;
    let composed = bundle::compose(&*store, &config.trust_domain, &authority.root, &others).await?;
    let issuance = Arc::new(Issuance::new(Parts {
        trust_domain: config.trust_domain.clone(),
        lifetimes: config.lifetimes,
        limits: config.limits,
        authority,
        edge,
        store,
        bundle: BundlePublisher::new(composed),
        metrics,
    }));

    let keeper = housekeeping::Housekeeping::new(config, shelf, Arc::clone(&issuance), conditions);
    let (writer, reader) = identity::material::channel();
    let mut tasks = JoinSet::new();
    let own = keeper.first_certificate(writer).await?;
    let entries = keeper.first_entries().await?;

    let previous = dir.ports().unwrap_or_default();
    let bind = |name: &str, wanted| {
        let before = previous.get(name).copied();
        runtime::listen::bind(wanted, config.taken_ports, before)
            .with_context(|| format!("the port `{name}` could not be opened"))
    };
    let grpc_listener = bind("grpc", config.listen)?;
    let admin_listener = bind("admin", config.admin)?;
    let (grpc, admin) = (grpc_listener.local_addr()?, admin_listener.local_addr()?);
    let socket = server::admin_socket::bind(&config.admin_socket)
        .await
        .with_context(|| format!("the admin socket `{}`", config.admin_socket.display()))?;

    tasks.spawn(server::serve(
        grpc_listener,
        reader.clone(),
        Arc::clone(&issuance),
        life.clone(),
        config.connections,
    ));
    tasks.spawn(server::admin_socket::serve(
        socket,
        Arc::clone(&issuance),
        config.profile,
        life.clone(),
    ));
    let status = status::Source {
        issuance: Arc::clone(&issuance),
        readiness: readiness.clone(),
        reader: reader.clone(),
        profile: config.profile,
    };
    let page = admin_page(status, registered, log, &life);
    let ending = life.clone();
    tasks.spawn(async move {
        page.serve(admin_listener, async move { drained(&ending).await })
            .await?;
        Ok(())
    });
    keeper.spawn(&mut tasks, own, entries, &life);

    let ports = BTreeMap::from([("grpc".to_owned(), grpc), ("admin".to_owned(), admin)]);
    dir.publish_ports(&ports)?;
    tracing::info!(
        %grpc, %admin, trust_domain = config.trust_domain.as_str(),
        profile = config.profile.as_str(), state_dir = %dir.path().display(), "authority started"
    );
    Ok(Running {
        grpc,
        admin,
        issuance,
        reader,
        readiness,
        life,
        tasks,
        _lock: lock,
    })
}

/// The authority's files, under the rules of the profile.
pub(crate) fn shelf(config: &Config, dir: StateDir) -> anyhow::Result<Shelf> {
    let passphrase = config
        .passphrase_file
        .as_deref()
        .map(read_passphrase)
        .transpose()?;
    Ok(Shelf {
        dir,
        passphrase,
        profile: config.profile,
        trust_domain: config.trust_domain.as_str().to_owned(),
    })
}

/// Reads a passphrase from a file that only we can read.
pub(crate) fn read_passphrase(path: &std::path::Path) -> anyhow::Result<Passphrase> {
    use std::os::unix::fs::MetadataExt as _;
    let read = || -> anyhow::Result<Passphrase> {
        let mode = std::fs::metadata(path)?.mode() & 0o7777;
        anyhow::ensure!(
            mode.trailing_zeros() >= 6,
            "others may read it (mode {mode:o}); run `chmod 600 {}`",
            path.display()
        );
        Ok(Passphrase::new(Zeroizing::new(std::fs::read(path)?))?)
    };
    read().with_context(|| format!("the passphrase file `{}`", path.display()))
}

pub(crate) fn additional_roots(config: &Config) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = Vec::new();
    for path in &config.additional_roots {
        let failed = || format!("`bundle.additionalRoots`: `{}`", path.display());
        let text = std::fs::read(path).with_context(failed)?;
        for root in CertificateDer::pem_slice_iter(&text) {
            roots.push(root.with_context(failed)?);
        }
    }
    Ok(roots)
}

fn edge(config: &Config, shelf: &Shelf) -> anyhow::Result<Option<Edge>> {
    if config.edge_callers.is_empty() || config.profile == Profile::Production {
        return Ok(None);
    }
    let (root, signer) = shelf.edge(SystemTime::now())?;
    Ok(Some(Edge {
        root,
        signer,
        callers: config.edge_callers.clone(),
    }))
}

fn admin_page(
    status: status::Source,
    metrics: runtime::metrics::Metrics,
    log: Option<LogHandle>,
    life: &Lifecycle,
) -> Admin {
    let readiness = status.readiness.clone();
    let reload = life.clone();
    let documents = status.clone();
    let mut page = Admin::builder()
        .metrics(metrics)
        .readiness(readiness)
        .version("ca", env!("CARGO_PKG_VERSION"))
        .get("/status", move |_| {
            let answer = status.page();
            async move { answer }
        })
        .get("/documents", move |_| {
            let answer = documents.documents();
            async move { answer }
        })
        .post("/reload", move |_| {
            reload.request_reload();
            async { runtime::admin::AdminResponse::text(http::StatusCode::ACCEPTED, "reloading\n") }
        });
    if let Some(log) = log {
        page = page.logging(log);
    }
    page.build()
}

/// The admin port stays while calls drain, so that one can watch.
async fn drained(life: &Lifecycle) {
    life.drained().await;
}
