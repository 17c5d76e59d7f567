//! The background task that closes connections nobody needs: idle for too long, dead, or of an old generation.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::client::{Inner, Pools};
use super::target::Transport;
use crate::body::RequestBody;

/// Starts the sweeper on the current runtime; it ends when the client is dropped.
pub(super) fn start<B: RequestBody>(client: &Arc<Inner<B>>) {
    let mut reader = client.reader.clone();
    let every =
        (client.limits.idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let client = Arc::downgrade(client);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                // A new generation: idle connections of the old one close now, not at their next use.
                () = reader.changed() => {}
            }
            if !sweep(&client) {
                return;
            }
        }
    });
}

/// One round; `false` when the client is gone.
fn sweep<B: RequestBody>(client: &Weak<Inner<B>>) -> bool {
    let Some(client) = client.upgrade() else {
        return false;
    };
    refresh(&client.pools.load());
    let mut unused = false;
    for pool in client.pools.load().values().flatten() {
        unused |= !pool.sweep(client.generation(pool.transport()));
    }
    if unused {
        let _editing = client.editing.lock();
        let mut pools = Pools::clone(&client.pools.load());
        pools.retain(|_, of_address| {
            of_address.retain(|pool| pool.sweep(client.generation(pool.transport())));
            !of_address.is_empty()
        });
        client.pools.store(Arc::new(pools));
    }
    true
}

/// Looks whether the TLS files of servers outside of the mesh changed.
fn refresh<B: RequestBody>(pools: &Pools<B>) {
    let originations: Vec<_> = pools
        .values()
        .flatten()
        .filter_map(|pool| match pool.transport() {
            Transport::Tls(origination) => Some(Arc::clone(origination)),
            Transport::Plaintext | Transport::Mesh(_) => None,
        })
        .collect();
    if !originations.is_empty() {
        tokio::task::spawn_blocking(move || {
            for origination in originations {
                origination.refresh();
            }
        });
    }
}
