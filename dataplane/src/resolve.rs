//! Endpoints given as DNS names: resolved in the background, remembered, never in the way of IP addresses.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use policies::cluster::EndpointAddress;

/// How long an answer counts as fresh; afterwards it is used while a new one is fetched.
const FRESH: Duration = Duration::from_secs(30);
/// How long a failed look-up is believed.
const FAILED: Duration = Duration::from_secs(1);
/// The longest look-up.
const LOOKUP: Duration = Duration::from_secs(5);

/// A name that could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot resolve `{name}`: {cause}")]
pub struct ResolveError {
    /// The name.
    pub name: Arc<str>,
    /// What the resolver said.
    pub cause: Arc<str>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    addresses: Arc<[SocketAddr]>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    error: ResolveError,
}

/// What is known of one name and port.
#[derive(Debug, Default)]
struct Name {
    /// The last good answer; kept when later look-ups fail.
    answer: ArcSwapOption<Answer>,
    failure: ArcSwapOption<Failure>,
    refreshing: AtomicBool,
    /// One look-up at a time for requests that must wait.
    lookup: tokio::sync::Mutex<()>,
}

type Names = HashMap<(Arc<str>, u16), Arc<Name>>;

/// The resolver of one process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    names: Arc<ArcSwap<Names>>,
    editing: Arc<Mutex<()>>,
}

impl Resolver {
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
                let addresses = self.addresses(host, *port).await?;
                let at = turn.checked_rem(addresses.len()).unwrap_or(0);
                addresses.get(at).copied().ok_or_else(|| ResolveError {
                    name: Arc::clone(host),
                    cause: "no address".into(),
                })
            }
        }
    }

    async fn addresses(
        &self,
        host: &Arc<str>,
        port: u16,
    ) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let name = self.name(host, port);
        if let Some(answer) = &*name.answer.load() {
            if answer.at.elapsed() >= FRESH && !name.refreshing.swap(true, Ordering::AcqRel) {
                let (name, host) = (Arc::clone(&name), Arc::clone(host));
                tokio::spawn(async move {
                    if let Err(error) = look_up(&name, &host, port).await {
                        tracing::warn!(%error, "keeping the last good addresses");
                    }
                    name.refreshing.store(false, Ordering::Release);
                });
            }
            return Ok(Arc::clone(&answer.addresses));
        }
        let _turn = name.lookup.lock().await;
        if let Some(answer) = &*name.answer.load() {
            return Ok(Arc::clone(&answer.addresses));
        }
        if let Some(failure) = &*name.failure.load()
            && failure.at.elapsed() < FAILED
        {
            return Err(failure.error.clone());
        }
        look_up(&name, host, port).await
    }

    fn name(&self, host: &Arc<str>, port: u16) -> Arc<Name> {
        let key = (Arc::clone(host), port);
        if let Some(name) = self.names.load().get(&key) {
            return Arc::clone(name);
        }
        let _editing = self.editing.lock();
        let current = self.names.load();
        if let Some(name) = current.get(&key) {
            return Arc::clone(name);
        }
        // INVARIANT: names come from policy documents, so the table is as bounded as they are.
        let mut names = Names::clone(&current);
        let name = Arc::<Name>::default();
        names.insert(key, Arc::clone(&name));
        self.names.store(Arc::new(names));
        name
    }
}

async fn look_up(
    name: &Name,
    host: &Arc<str>,
    port: u16,
) -> Result<Arc<[SocketAddr]>, ResolveError> {
    let cause: Arc<str> =
        match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((&**host, port))).await {
            Ok(Ok(found)) => {
                let addresses: Arc<[SocketAddr]> = found.collect();
                if !addresses.is_empty() {
                    let answer = Answer {
                        at: Instant::now(),
                        addresses: Arc::clone(&addresses),
                    };
                    name.answer.store(Some(Arc::new(answer)));
                    return Ok(addresses);
                }
                "the name has no address".into()
            }
            Ok(Err(error)) => error.to_string().into(),
            Err(_elapsed) => "no answer in time".into(),
        };
    let error = ResolveError {
        name: Arc::clone(host),
        cause,
    };
    name.failure.store(Some(Arc::new(Failure {
        at: Instant::now(),
        error: error.clone(),
    })));
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(host: &str) -> EndpointAddress {
        EndpointAddress::Name {
            host: host.into(),
            port: 80,
        }
    }

    #[tokio::test]
    async fn addresses_are_answered_at_once_and_names_are_remembered() {
        let resolver = Resolver::default();
        let literal: SocketAddr = "192.0.2.1:8080".parse().unwrap();
        assert_eq!(
            resolver
                .address(&EndpointAddress::Socket(literal), 7)
                .await
                .unwrap(),
            literal
        );
        assert!(resolver.names.load().is_empty());
        for _ in 0..2 {
            let found = resolver.address(&name("localhost"), 0).await.unwrap();
            assert!(found.ip().is_loopback());
        }
        assert_eq!(resolver.names.load().len(), 1);
    }

    #[tokio::test]
    async fn a_name_without_address_is_an_error() {
        let error = Resolver::default()
            .address(&name("no such name"), 0)
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot resolve `no such name`: ")
        );
    }
}
