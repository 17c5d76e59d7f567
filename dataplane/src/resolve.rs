//! Endpoints given as DNS names: resolved in the background for as long as their answers hold, remembered when a look-up
//! fails, never in the way of IP addresses.

mod answer;
mod dns;
mod metrics;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policies::cluster::EndpointAddress;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use answer::{Answer, Name};
use dns::Dns;
use metrics::DnsMetrics;

/// How long a failed look-up is believed by requests.
const FAILED: Duration = Duration::from_secs(1);
/// The pause after a failed look-up in the background.
const RETRY: Duration = Duration::from_secs(5);

/// A name that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve `{name}`: {cause}")]
pub struct ResolveError {
    /// The name.
    pub name: Arc<str>,
    /// What the resolver said.
    pub cause: Arc<str>,
}

type Names = HashMap<Arc<str>, Arc<Name>>;

struct Inner {
    dns: Dns,
    /// INVARIANT: names come from policy documents, so the table is as bounded as they are.
    names: ArcSwap<Names>,
    editing: Mutex<()>,
    followed: Mutex<HashSet<Arc<str>>>,
    /// Counts changes of addresses of followed names.
    changes: watch::Sender<u64>,
    metrics: DnsMetrics,
}

/// The resolver of one process; cheap to clone. Asks the name servers of `/etc/resolv.conf`, after `/etc/hosts`.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("names", &self.0.names.load().len())
            .finish_non_exhaustive()
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Dns::system())
    }
}

impl Resolver {
    /// A resolver that asks these servers instead of the system's.
    pub fn with_servers(servers: &[SocketAddr]) -> Self {
        Self::new(Dns::servers(servers))
    }

    fn new(dns: Dns) -> Self {
        Self(Arc::new(Inner {
            dns,
            names: ArcSwap::default(),
            editing: Mutex::default(),
            followed: Mutex::default(),
            changes: watch::Sender::new(0),
            metrics: DnsMetrics::new(),
        }))
    }

    /// Shows look-ups and how stale answers are as `portcullis_dns_*`.
    ///
    /// # Errors
    /// When metrics of these names are registered already.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.0.metrics.register(registry)
    }

    /// The address of an endpoint; `turn` spreads the calls over several addresses of one name.
    ///
    /// IP addresses are answered at once. A name waits for its first look-up only.
    pub async fn address(
        &self,
        endpoint: &EndpointAddress,
        turn: usize,
    ) -> Result<SocketAddr, ResolveError> {
        match endpoint {
            EndpointAddress::Socket(address) => Ok(*address),
            EndpointAddress::Name { host, port } => {
                let addresses = self.addresses(host).await?;
                let at = turn.checked_rem(addresses.len()).unwrap_or(0);
                let found = addresses.get(at).ok_or_else(|| ResolveError {
                    name: Arc::clone(host),
                    cause: "no address".into(),
                })?;
                Ok(SocketAddr::new(*found, *port))
            }
        }
    }

    /// The last good answer for a name, in its order; none before there is one.
    pub fn known(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let names = self.0.names.load();
        let answer = names.get(name)?.answer.load();
        answer.as_ref().map(|answer| Arc::clone(&answer.addresses))
    }

    /// Keeps these names resolved from now on, and no others. Does nothing outside of a Tokio runtime.
    pub fn follow(&self, names: impl IntoIterator<Item = Arc<str>>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let wanted: HashSet<Arc<str>> = names.into_iter().collect();
        let mut followed = self.0.followed.lock();
        for host in wanted.difference(&followed) {
            let name = self.name(host);
            runtime.spawn(keep(Arc::downgrade(&self.0), name, Arc::clone(host)));
        }
        for host in followed.difference(&wanted) {
            self.0.metrics.forget(host);
        }
        *followed = wanted;
    }

    /// Counts how often the addresses of a followed name changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    async fn addresses(&self, host: &Arc<str>) -> Result<Arc<[IpAddr]>, ResolveError> {
        let name = self.name(host);
        if let Some(answer) = &*name.answer.load() {
            if answer.is_over() && name.begin_refresh() {
                let (inner, name) = (Arc::clone(&self.0), Arc::clone(&name));
                let host = Arc::clone(host);
                tokio::spawn(async move {
                    // What went wrong is noted where it happened.
                    drop(inner.look_up(&name, &host).await);
                    name.end_refresh();
                });
            }
            return Ok(Arc::clone(&answer.addresses));
        }
        let _turn = name.lookup.lock().await;
        if let Some(answer) = &*name.answer.load() {
            return Ok(Arc::clone(&answer.addresses));
        }
        if let Some(error) = name.failed_within(FAILED) {
            return Err(error);
        }
        let answer = self.0.look_up(&name, host).await?;
        Ok(Arc::clone(&answer.addresses))
    }

    fn name(&self, host: &Arc<str>) -> Arc<Name> {
        if let Some(name) = self.0.names.load().get(host) {
            return Arc::clone(name);
        }
        let _editing = self.0.editing.lock();
        let current = self.0.names.load();
        if let Some(name) = current.get(host) {
            return Arc::clone(name);
        }
        let mut names = Names::clone(&current);
        let name = Arc::<Name>::default();
        names.insert(Arc::clone(host), Arc::clone(&name));
        self.0.names.store(Arc::new(names));
        name
    }
}

impl Inner {
    /// Asks, and notes what came of it. The last good answer outlives failures.
    async fn look_up(&self, name: &Name, host: &Arc<str>) -> Result<Arc<Answer>, ResolveError> {
        match self.dns.ask(host).await {
            Ok(answer) => {
                let answer = Arc::new(answer);
                let before = name.answer.swap(Some(Arc::clone(&answer)));
                self.metrics.answered(host);
                if before.is_none_or(|before| !before.has_same_addresses(&answer)) {
                    tracing::info!(name = %host, addresses = ?answer.addresses, "name resolved");
                    if self.followed.lock().contains(host) {
                        self.changes.send_modify(|changes| *changes += 1);
                    }
                }
                Ok(answer)
            }
            Err(cause) => {
                let error = ResolveError {
                    name: Arc::clone(host),
                    cause,
                };
                let since = name.answer.load().as_ref().map(|answer| answer.age());
                self.metrics.failed(host, since);
                if since.is_some() {
                    tracing::warn!(%error, "keeping the last good addresses");
                }
                name.failed(error.clone());
                Err(error)
            }
        }
    }
}

/// Keeps one name resolved for as long as it is followed.
async fn keep(resolver: Weak<Inner>, name: Arc<Name>, host: Arc<str>) {
    loop {
        let Some(inner) = resolver.upgrade() else {
            return;
        };
        if !inner.followed.lock().contains(&host) {
            return;
        }
        let again = {
            // Requests that wait for the first answer share this look-up.
            let _turn = name.lookup.lock().await;
            match inner.look_up(&name, &host).await {
                Ok(answer) => answer.until,
                Err(_noted) => Instant::now() + RETRY,
            }
        };
        drop(inner);
        tokio::time::sleep_until(again).await;
    }
}
