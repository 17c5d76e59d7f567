//! Tokens verified lately, by their hash: reading takes no lock, and there are never more than a fixed number.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use authz::jwt::{FoundAt, VerifiedToken};
use aws_lc_rs::digest::{self, Context};

use super::Output;
use super::remote::RemoteKeys;

/// How many places there are; a power of two.
const SETS: usize = 1024;
/// How many tokens share a place.
const WAYS: usize = 4;
/// Longer tokens are verified each time, so that what is remembered stays within some tens of MiB.
const MAX_TOKEN: usize = 8 * 1024;

/// What stands for a token under some rules: SHA-256 over the rules' number, where the token stood, and its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; digest::SHA256_OUTPUT_LEN]);

/// What is known of a verified token.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) token: Arc<VerifiedToken>,
    /// The headers that its rule sets.
    pub(super) outputs: Vec<Output>,
    /// Whether the application gets the token.
    pub(super) forwards_token: bool,
}

/// Which keys verified a token.
#[derive(Debug, Clone)]
pub(super) enum Generation {
    /// Those in the rules.
    Fixed,
    /// Fetched ones, as they were then.
    Of(Arc<RemoteKeys>, u64),
}

/// A verified token and how long that holds.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) accepted: Arc<Accepted>,
    pub(super) generation: Generation,
    /// When the token expires.
    pub(super) dies_at: Option<SystemTime>,
}

/// The tokens verified lately.
#[derive(Debug)]
pub(super) struct TokenCache {
    sets: Box<[[ArcSwapOption<Entry>; WAYS]]>,
}

impl Default for TokenCache {
    fn default() -> Self {
        Self {
            sets: (0..SETS).map(|_| Default::default()).collect(),
        }
    }
}

impl Key {
    pub(super) fn of(rules: u64, places: &FoundAt, token: &str) -> Self {
        let mut context = Context::new(&digest::SHA256);
        context.update(&rules.to_le_bytes());
        let positions = places.positions();
        context.update(&positions.len().to_le_bytes());
        for position in positions {
            context.update(&position.to_le_bytes());
        }
        context.update(token.as_bytes());
        let mut key = [0; digest::SHA256_OUTPUT_LEN];
        for (to, from) in key.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(key)
    }

    /// Two independent numbers below the powers of two that they are for.
    fn spread(self) -> (usize, usize) {
        let [a, b, c, ..] = self.0;
        let set = usize::from(a) << 8 | usize::from(b);
        (set & (SETS - 1), usize::from(c) & (WAYS - 1))
    }
}

impl Entry {
    /// Whether nothing has changed since: it lives, and its keys are still those that verified it.
    fn holds(&self, now: SystemTime) -> bool {
        let current = match &self.generation {
            Generation::Fixed => true,
            Generation::Of(keys, generation) => keys.is_current(*generation),
        };
        current && self.dies_at.is_none_or(|end| now < end)
    }
}

impl TokenCache {
    /// What is known of a token, if it still holds.
    pub(super) fn get(&self, key: &Key, now: SystemTime) -> Option<Arc<Accepted>> {
        let (set, _) = key.spread();
        self.sets.get(set)?.iter().find_map(|way| {
            let entry = way.load();
            let entry = entry.as_ref().filter(|entry| entry.key == *key)?;
            entry.holds(now).then(|| Arc::clone(&entry.accepted))
        })
    }

    /// Remembers a token of `length` bytes, in the place of one that is dead or, if all live, of one that chance picks.
    pub(super) fn put(&self, entry: Entry, length: usize, now: SystemTime) {
        let (set, chance) = entry.key.spread();
        let Some(ways) = self.sets.get(set).filter(|_| length <= MAX_TOKEN) else {
            return;
        };
        let free = ways.iter().position(|way| {
            let old = way.load();
            old.as_ref()
                .is_none_or(|old| old.key == entry.key || !old.holds(now))
        });
        if let Some(way) = ways.get(free.unwrap_or(chance)) {
            way.store(Some(Arc::new(entry)));
        }
    }
}
