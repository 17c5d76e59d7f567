//! One Redis: its connection, the tokens that this process holds of its buckets, and whether it answers at all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::digest;
use parking_lot::Mutex;
use policies::rate_limit::{Ask, Lease, Limit, LimitFacts, Rate, Settled, Standing, Step, Unused};
use policies::resilience::Moment;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, Script};
use runtime::escape;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::Server;
use crate::clock;
use crate::rate_limit::CounterError;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));

/// How many parts the table of leases has: each has a lock of its own.
const SHARDS: usize = 64;
/// How many keys a part remembers.
const KEYS_PER_SHARD: usize = 1024;
/// How long a question may take beyond what a request waits for it; then Redis is given up for [`PAUSE`].
const LONGEST_QUESTION: Duration = Duration::from_millis(100);
/// For so long nobody waits for a Redis that did not answer; then one question tries it again.
const PAUSE: Duration = Duration::from_millis(250);
/// The default port of a message that has none never comes up: addresses are checked at load.
const PORT: u16 = 6379;

/// One Redis.
#[derive(Debug)]
pub(in crate::rate_limit) struct Store {
    server: Server,
    shards: Box<[Mutex<Entries>]>,
    /// Held while it is made: one at a time.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    /// The next moment at which it is worth to ask, in nanoseconds; 0 while it answers.
    down_until: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rate_limit) enum Taken {
    /// It has a token.
    Yes(Standing),
    /// There is none.
    No(Standing),
    /// Redis does not answer.
    Unknown,
}

/// The buckets of one part of the table.
type Entries = HashMap<u64, Arc<Entry>>;

/// One bucket, as far as this process holds tokens of it.
#[derive(Debug)]
struct Entry {
    /// In Redis.
    key: Box<str>,
    lease: Mutex<Lease>,
    /// A question is over.
    settled: Notify,
}

impl Store {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            connection: tokio::sync::Mutex::default(),
            down_until: AtomicU64::new(0),
        }
    }

    /// Takes a token; waits at most `wait` for Redis, and only where this process holds none.
    pub(in crate::rate_limit) async fn take(
        self: &Arc<Self>,
        limit: &Limit,
        key: u64,
        request: &LimitFacts<'_>,
        wait: Duration,
    ) -> Taken {
        let entry = self.entry(limit, key, request);
        let deadline = Instant::now() + wait;
        loop {
            let settled = entry.settled.notified();
            tokio::pin!(settled);
            // From here on an answer wakes us, also one that comes before we wait.
            settled.as_mut().enable();
            let now = clock::now();
            let step = entry.lease.lock().take(&limit.rate, now);
            match step {
                Step::Pass(standing, ask) => {
                    if let Some(ask) = ask {
                        self.ask(&entry, limit.rate, ask, wait);
                    }
                    return Taken::Yes(standing);
                }
                Step::Refuse(standing) => return Taken::No(standing),
                Step::Ask(ask) if self.may_ask(now) => self.ask(&entry, limit.rate, ask, wait),
                Step::Ask(_) => {
                    entry.lease.lock().failed();
                    return Taken::Unknown;
                }
                Step::Wait if self.is_down() => return Taken::Unknown,
                Step::Wait => {}
            }
            if timeout_at(deadline, settled).await.is_err() {
                return Taken::Unknown;
            }
        }
    }

    /// Puts back the token that a request took which does not pass after all; it stays at hand here.
    pub(in crate::rate_limit) fn give_back(&self, key: u64) {
        let Some(shard) = self.shard(key) else { return };
        let entry = shard.lock().get(&key).map(Arc::clone);
        if let Some(entry) = entry {
            entry.lease.lock().give_back();
        }
    }

    fn shard(&self, key: u64) -> Option<&Mutex<Entries>> {
        let shards = u64::try_from(self.shards.len()).unwrap_or(1);
        let shard = usize::try_from(key % shards).unwrap_or(0);
        self.shards.get(shard)
    }

    fn entry(&self, limit: &Limit, key: u64, request: &LimitFacts<'_>) -> Arc<Entry> {
        let fresh = || {
            Arc::new(Entry {
                key: name(limit, request),
                lease: Mutex::default(),
                settled: Notify::new(),
            })
        };
        let Some(shard) = self.shard(key) else {
            return fresh();
        };
        let mut entries = shard.lock();
        if let Some(entry) = entries.get(&key) {
            return Arc::clone(entry);
        }
        let entry = fresh();
        if entries.len() >= KEYS_PER_SHARD {
            let now = clock::now();
            entries.retain(|_, entry| !entry.lease.lock().is_idle(now));
        }
        // Beyond the bound a request asks for itself alone.
        if entries.len() < KEYS_PER_SHARD {
            entries.insert(key, Arc::clone(&entry));
        }
        entry
    }

    fn is_down(&self) -> bool {
        self.down_until.load(Ordering::Relaxed) != 0
    }

    /// Whether a question is worth its while: always while Redis answers, else one now and then.
    fn may_ask(&self, now: Moment) -> bool {
        let until = self.down_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let next = now.plus(PAUSE).nanos();
        now.nanos() >= until
            && self
                .down_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Asks beside the request, so that an answer counts though nobody waits for it any more.
    fn ask(self: &Arc<Self>, entry: &Arc<Entry>, rate: Rate, ask: Ask, wait: Duration) {
        let (store, entry) = (Arc::clone(self), Arc::clone(entry));
        tokio::spawn(async move {
            let question = store.question(&entry.key, &rate, ask);
            let answer = timeout(wait.max(LONGEST_QUESTION), question).await;
            let watch = match answer.unwrap_or(Err(CounterError::Late)) {
                Ok(settled) => {
                    store.answered();
                    let mut lease = entry.lease.lock();
                    lease.settle(&rate, settled, clock::now());
                    settled.granted > 0 && lease.watch()
                }
                Err(error) => {
                    store.unanswered(&error).await;
                    entry.lease.lock().failed();
                    false
                }
            };
            entry.settled.notify_waiters();
            if watch {
                store.return_unused(&entry, &rate).await;
            }
        });
    }

    /// Puts tokens back for which no request came: other processes may wait for them.
    async fn return_unused(&self, entry: &Entry, rate: &Rate) {
        loop {
            let unused = entry.lease.lock().unused(clock::now());
            let back = match unused {
                Unused::None => return,
                Unused::Kept(wait) => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Unused::Back(back) => back,
            };
            // Without an answer they are lost, which errs on the safe side.
            if self.is_down() {
                return;
            }
            let question = self.question(&entry.key, rate, Ask { want: 0, back });
            let answer = timeout(LONGEST_QUESTION, question).await;
            match answer.unwrap_or(Err(CounterError::Late)) {
                Ok(_) => self.answered(),
                Err(error) => self.unanswered(&error).await,
            }
            return;
        }
    }

    async fn question(&self, key: &str, rate: &Rate, ask: Ask) -> Result<Settled, CounterError> {
        let mut connection = self.connected().await?;
        let every = rate.interval().as_secs_f64() * 1e6 / f64::from(rate.requests().max(1));
        let mut call = SCRIPT.prepare_invoke();
        call.key(key)
            .arg(format!("{every:.9}"))
            .arg(rate.burst())
            .arg(ask.want)
            .arg(ask.back);
        let answer: (u32, u32, u64, u64) = call.invoke_async(&mut connection).await?;
        let (granted, remaining, reset, retry_after) = answer;
        Ok(Settled {
            ask,
            granted: granted.min(ask.want),
            standing: Standing {
                remaining,
                reset: Duration::from_micros(reset),
                retry_after: Duration::from_micros(retry_after),
            },
        })
    }

    /// The connection, or a new one. The password is read each time: it may have changed.
    async fn connected(&self) -> Result<MultiplexedConnection, CounterError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let Server {
            address,
            database,
            username,
            password_file,
        } = &self.server;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().unwrap_or(PORT);
        let mut info = ConnectionAddr::Tcp(host.to_owned(), port).into_connection_info()?;
        let mut login = info.redis_settings().clone().set_db(i64::from(*database));
        if let Some(username) = username {
            login = login.set_username(username);
        }
        if let Some(file) = password_file {
            let password = tokio::fs::read_to_string(file).await?;
            login = login.set_password(password.trim_end_matches(['\r', '\n']));
        }
        info = info.set_redis_settings(login);
        // The question's own deadline holds for both.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let fresh = Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        tracing::info!(address = %escape::escape(address, 256), "connected to the Redis of rate limits");
        Ok(connection.insert(fresh).clone())
    }

    fn answered(&self) {
        if self.down_until.swap(0, Ordering::Relaxed) != 0 {
            let address = escape::escape(&self.server.address, 256);
            tracing::info!(%address, "the Redis of rate limits answers again");
        }
    }

    async fn unanswered(&self, error: &CounterError) {
        let next = clock::now().plus(PAUSE).nanos().max(1);
        if self.down_until.swap(next, Ordering::Relaxed) == 0 {
            let address = escape::escape(&self.server.address, 256);
            tracing::warn!(%address, %error, "the Redis of rate limits does not answer; `failureMode` decides until it does");
        }
        // A new one is made with the next question; a broken one would only answer late.
        *self.connection.lock().await = None;
    }
}

/// What a bucket is called in Redis: nothing about a client can be read from it.
fn name(limit: &Limit, request: &LimitFacts<'_>) -> Box<str> {
    let values = limit.values(request);
    let mut name = format!("portcullis:{}", limit.id);
    if !values.is_empty() {
        let digest = digest::digest(&digest::SHA256, &values);
        name.push(':');
        let short = digest.as_ref().iter().take(16);
        name.extend(short.map(|byte| format!("{byte:02x}")));
    }
    name.into()
}
