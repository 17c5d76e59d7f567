//! Fetched key sets: kept fresh in the background, used while they are stale, given up when they are too old.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use authz::jwt::{KeySet, KeysAt, Token, TokenError};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::cache::Generation;
use super::fetch::{FetchError, Fetched, Fetcher, name};
use super::metrics::TokenMetrics;

/// How keys age.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Older keys are fetched anew, in the background (Istio's refresh interval).
    pub(super) fresh: Duration,
    /// Older keys are not used any more: who cannot be asked for so long may have revoked them.
    pub(super) usable: Duration,
    /// A token by an unknown key makes keys be fetched no more often than this.
    pub(super) unknown_key: Duration,
    /// The pause after a failure; it doubles from failure to failure.
    pub(super) first_pause: Duration,
    /// The longest pause.
    pub(super) longest_pause: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            fresh: Duration::from_mins(20),
            usable: Duration::from_hours(24),
            unknown_key: Duration::from_secs(10),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(1),
        }
    }
}

/// Every fetched key set of one process.
#[derive(Debug)]
pub(super) struct KeyStore {
    fetching: Arc<Fetching>,
    sets: ArcSwap<HashMap<KeysAt, Arc<RemoteKeys>>>,
    editing: Mutex<()>,
}

/// What all key sets need to fetch.
#[derive(Debug)]
struct Fetching {
    fetcher: Fetcher,
    schedule: Schedule,
    metrics: TokenMetrics,
}

/// One fetched key set.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    at: KeysAt,
    name: Arc<str>,
    fetching: Arc<Fetching>,
    /// The last good answer; kept when later fetches fail.
    loaded: ArcSwapOption<Loaded>,
    refreshing: AtomicBool,
    /// One fetch at a time.
    attempts: AsyncMutex<Attempts>,
}

#[derive(Debug)]
struct Loaded {
    /// Counts the different answers from 1.
    generation: u64,
    text: Bytes,
    keys: KeySet,
    at: Instant,
}

#[derive(Debug, Default)]
struct Attempts {
    /// When the last one ended.
    last: Option<Instant>,
    /// Failures since the last success.
    failures: u32,
}

/// Why a fetch is wanted: it decides how soon after the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// There are no keys that could be used, or they are stale.
    Age,
    /// A token names a key that is not among them.
    UnknownKey,
}

impl KeyStore {
    pub(super) fn new(fetcher: Fetcher, schedule: Schedule, metrics: TokenMetrics) -> Self {
        Self {
            fetching: Arc::new(Fetching {
                fetcher,
                schedule,
                metrics,
            }),
            sets: ArcSwap::default(),
            editing: Mutex::default(),
        }
    }

    /// Keeps these sets and no others, and begins to fetch those that are new.
    pub(super) fn keep<'a>(&self, wanted: impl Iterator<Item = &'a KeysAt>) {
        let _editing = self.editing.lock();
        let old = self.sets.load_full();
        let new: HashMap<KeysAt, Arc<RemoteKeys>> = wanted
            .map(|at| {
                let set = old.get(at).map_or_else(|| self.begin(at), Arc::clone);
                (at.clone(), set)
            })
            .collect();
        for (at, set) in old.iter().filter(|(at, _)| !new.contains_key(at)) {
            // Two sets may differ in their timeouts only.
            if !new.keys().any(|kept| kept.found_by == at.found_by) {
                self.fetching.metrics.forget(&set.name);
            }
        }
        self.sets.store(Arc::new(new));
    }

    fn begin(&self, at: &KeysAt) -> Arc<RemoteKeys> {
        let set = Arc::new(RemoteKeys {
            at: at.clone(),
            name: name(at),
            fetching: Arc::clone(&self.fetching),
            loaded: ArcSwapOption::empty(),
            refreshing: AtomicBool::new(false),
            attempts: AsyncMutex::default(),
        });
        set.refresh();
        set
    }

    /// Whether a key of the set signed the token, and which generation of the set that was.
    pub(super) async fn verify(
        &self,
        at: &KeysAt,
        token: &Token<'_>,
    ) -> Result<Generation, TokenError> {
        // A request of rules that were just replaced may ask for a set that is gone.
        let set = self.sets.load().get(at).map(Arc::clone);
        let set = set.unwrap_or_else(|| self.begin(at));
        let loaded = set.keys_for(token).await;
        let loaded = loaded.ok_or(TokenError::KeysUnavailable)?;
        loaded.keys.verify(token)?;
        Ok(Generation::Of(set, loaded.generation))
    }
}

impl RemoteKeys {
    /// Whether the set is still the one that had this number, and may be used. Asking keeps it fresh.
    pub(super) fn is_current(self: &Arc<Self>, generation: u64) -> bool {
        let loaded = self.loaded.load();
        let Some(loaded) = loaded.as_ref().filter(|loaded| self.is_usable(loaded)) else {
            return false;
        };
        loaded.generation == generation
    }

    /// The set, given it is not too old; begins to refresh it when it is stale.
    fn is_usable(self: &Arc<Self>, loaded: &Loaded) -> bool {
        let age = loaded.at.elapsed();
        let schedule = &self.fetching.schedule;
        if age >= schedule.fresh {
            self.refresh();
        }
        age < schedule.usable
    }

    async fn keys_for(self: &Arc<Self>, token: &Token<'_>) -> Option<Arc<Loaded>> {
        let asked = Instant::now();
        let usable = self
            .loaded
            .load_full()
            .filter(|loaded| self.is_usable(loaded));
        let Some(loaded) = usable else {
            self.fetch_since(asked, Reason::Age).await;
            return self
                .loaded
                .load_full()
                .filter(|loaded| self.is_usable(loaded));
        };
        if loaded.keys.may_verify(token) {
            return Some(loaded);
        }
        self.fetch_since(asked, Reason::UnknownKey).await;
        self.loaded.load_full()
    }

    /// Fetches in the background, unless that is going on.
    fn refresh(self: &Arc<Self>) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        // Outside of a runtime, as in some tests, nobody waits for keys.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.refreshing.store(false, Ordering::Release);
            return;
        };
        let set = Arc::clone(self);
        runtime.spawn(async move {
            set.fetch(Instant::now(), Reason::Age).await;
            set.refreshing.store(false, Ordering::Release);
        });
    }

    /// Waits until an attempt to fetch has ended after `asked`. The fetch goes on if the request that waits is given up.
    async fn fetch_since(self: &Arc<Self>, asked: Instant, reason: Reason) {
        let set = Arc::clone(self);
        let fetched = tokio::spawn(async move { set.fetch(asked, reason).await });
        if let Err(error) = fetched.await {
            tracing::error!(keys = %self.name, %error, "fetching keys was interrupted");
        }
    }

    async fn fetch(&self, asked: Instant, reason: Reason) {
        let mut attempts = self.attempts.lock().await;
        if attempts.forbid(asked, reason, &self.fetching.schedule) {
            return;
        }
        let fetched = self.fetching.fetcher.keys(&self.at).await;
        attempts.last = Some(Instant::now());
        match fetched {
            Ok(fetched) => {
                attempts.failures = 0;
                self.fetching.metrics.fetched(&self.name);
                self.put(fetched);
            }
            Err(error) => {
                attempts.failures = attempts.failures.saturating_add(1);
                self.fetching.metrics.failed(&self.name);
                self.warn(&error);
            }
        }
    }

    fn put(&self, fetched: Fetched) {
        let Fetched { text, keys } = fetched;
        let before = self.loaded.load_full();
        let before = before.as_ref();
        let generation = match before {
            // The same keys: the tokens that they verified stay known.
            Some(before) if before.text == text => before.generation,
            Some(before) => before.generation + 1,
            None => 1,
        };
        if before.is_none_or(|before| before.generation != generation) {
            let (count, unusable) = (keys.len(), keys.unusable());
            tracing::info!(keys = %self.name, count, unusable, "fetched the keys of an issuer");
        }
        self.loaded.store(Some(Arc::new(Loaded {
            generation,
            text,
            keys,
            at: Instant::now(),
        })));
    }

    fn warn(&self, error: &FetchError) {
        let usable = self.loaded.load();
        let usable = usable
            .as_ref()
            .is_some_and(|loaded| loaded.at.elapsed() < self.fetching.schedule.usable);
        let meanwhile = if usable {
            "the keys of the last fetch are used"
        } else {
            "tokens of this issuer are refused"
        };
        let cause = error.to_string();
        let cause = runtime::escape::escape(&cause, 512);
        tracing::warn!(keys = %self.name, %cause, meanwhile, "cannot fetch the keys of an issuer");
    }
}

impl Attempts {
    /// Whether there is to be no fetch: one ended while the caller was waiting, or the last is too short ago.
    fn forbid(&self, asked: Instant, reason: Reason, schedule: &Schedule) -> bool {
        let Some(last) = self.last else { return false };
        if last >= asked {
            return true;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => {
                let doubled = 2_u32.saturating_pow(failures - 1);
                let pause = schedule.first_pause.saturating_mul(doubled);
                pause.min(schedule.longest_pause)
            }
        };
        let pause = match reason {
            Reason::Age => pause,
            Reason::UnknownKey => pause.max(schedule.unknown_key),
        };
        last.elapsed() < pause
    }
}
