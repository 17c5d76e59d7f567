//! Limits that several processes have together, counted in Redis: one script a question, and few questions.

mod store;

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;

use arc_swap::ArcSwap;
use policies::document::rate_limit::RedisCounter;

pub(super) use store::{Store, Taken};

/// Which Redis, and as whom: what a connection depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Server {
    address: String,
    database: u32,
    username: Option<String>,
    password_file: Option<std::path::PathBuf>,
}

impl Server {
    fn of(redis: &RedisCounter) -> Self {
        Self {
            address: redis.address.value.clone(),
            database: redis.database,
            username: redis.username.clone(),
            password_file: redis.password_file.clone(),
        }
    }

    fn is(&self, redis: &RedisCounter) -> bool {
        self.address == redis.address.value
            && self.database == redis.database
            && self.username == redis.username
            && self.password_file == redis.password_file
    }
}

/// Every Redis that the documents named since the process started; there are few.
#[derive(Debug, Default)]
pub(super) struct RedisStores {
    hasher: RandomState,
    known: ArcSwap<HashMap<Server, Arc<Store>>>,
}

impl RedisStores {
    /// How keys are hashed in this process.
    pub(super) const fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// The store of a Redis. Finding one that is known takes no lock and allocates nothing.
    pub(super) fn of(&self, redis: &RedisCounter) -> Arc<Store> {
        let known = self.known.load();
        if let Some((_, store)) = known.iter().find(|(server, _)| server.is(redis)) {
            return Arc::clone(store);
        }
        drop(known);
        let server = Server::of(redis);
        let fresh = Arc::new(Store::new(server.clone()));
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known
                .entry(server.clone())
                .or_insert_with(|| Arc::clone(&fresh));
            known
        });
        let known = self.known.load();
        known.get(&server).map_or(fresh, Arc::clone)
    }
}
