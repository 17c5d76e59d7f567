//! gRPC over mutual TLS around the book.

pub(crate) mod accept;
mod calls;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::registry::wire::registry_server::RegistryServer;
use identity::material::MaterialReader;
use identity::server::{ClientCertificates, server_config};
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGaugeVec, Opts, Registry as Metrics};
use runtime::lifecycle::Lifecycle;
use tokio::sync::watch;
use tonic::transport::Server;

use crate::book::{Book, Now, State};

/// The largest message of a workload.
const LARGEST_MESSAGE: usize = 64 << 10;
/// Calls of one connection at once.
const MOST_STREAMS: u32 = 16;
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What calls and pages share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) book: Mutex<Book>,
    pub(crate) published: watch::Sender<Arc<State>>,
    /// Names this life of the registry.
    pub(crate) life: String,
    pub(crate) lease: Duration,
    pub(crate) material: MaterialReader,
    pub(crate) lifecycle: Lifecycle,
    started: Instant,
    instances: IntGaugeVec,
    pub(crate) refused: IntCounter,
}

impl Shared {
    /// An empty registry.
    pub(crate) fn new(
        lease: Duration,
        material: MaterialReader,
        lifecycle: Lifecycle,
        metrics: &Metrics,
    ) -> Result<Self, prometheus::Error> {
        let instances = IntGaugeVec::new(
            Opts::new("portcullis_registry_instances", "Instances by their state."),
            &["state"],
        )?;
        metrics.register(Box::new(instances.clone()))?;
        let refused = IntCounter::new(
            "portcullis_registry_refused_total",
            "Registrations that were refused.",
        )?;
        metrics.register(Box::new(refused.clone()))?;
        Ok(Self {
            book: Mutex::new(Book::new(lease)),
            published: watch::Sender::new(Arc::default()),
            life: format!("{:016x}", dataplane::random::number()),
            lease,
            material,
            lifecycle,
            started: Instant::now(),
            instances,
            refused,
        })
    }

    pub(crate) fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            monotonic: self.started.elapsed(),
            seconds: since.map_or(0, |since| since.as_secs()),
        }
    }

    /// Changes the book and tells everybody who watches. A registry that stops tells nothing: that streams end with it says
    /// nothing about the workloads.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Book, Now) -> (bool, T)) -> T {
        let mut book = self.book.lock();
        let (changed, outcome) = change(&mut book, self.now());
        if changed && !self.lifecycle.is_draining() {
            let state = Arc::new(book.state().clone());
            for name in ["ready", "unready", "gone"] {
                let count = state.instances.values();
                let count = count
                    .filter(|instance| instance.state.to_string() == name)
                    .count();
                let gauge = self.instances.with_label_values(&[name]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            self.published.send_replace(state);
        }
        outcome
    }
}

/// Gives up whoever is silent, and says when whoever was there before has had time to come back.
pub(crate) async fn keep_leases(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.lease / 4);
    let settled = tokio::time::sleep(shared.lease / 2);
    tokio::pin!(settled);
    let mut waiting = true;
    loop {
        tokio::select! {
            _ = tick.tick() => shared.change(|book, now| (book.expire(now), ())),
            () = &mut settled, if waiting => {
                waiting = false;
                shared.change(|book, _| {
                    book.settle();
                    (true, ())
                });
            }
        }
    }
}

/// Serves until the drain is over.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    connections: usize,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let tls = server_config(&shared.material, ClientCertificates::Require, &[b"h2"]);
    let incoming = accept::listen(listener, tls, Arc::clone(&shared), connections);
    let life = shared.lifecycle.clone();
    let calls =
        RegistryServer::new(calls::Calls(shared)).max_decoding_message_size(LARGEST_MESSAGE);
    let server = Server::builder()
        .max_concurrent_streams(MOST_STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(16 * 1024)
        .add_service(calls)
        .serve_with_incoming_shutdown(incoming, {
            let life = life.clone();
            async move { life.drain_begun().await }
        });
    tokio::select! {
        served = server => served?,
        () = async {
            life.drain_begun().await;
            tokio::time::sleep(life.drain_timeout()).await;
        } => tracing::debug!("open streams are cut"),
    }
    Ok(())
}
