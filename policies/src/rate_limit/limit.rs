//! One limit: which requests, counted together by which values, how many.

use std::hash::{BuildHasher, DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key::Key;
use super::matching::Scope;
use super::{Bucket, LimitFacts, Rate};
use crate::document::CompiledRegexes;
use crate::document::rate_limit::LimitRule;

/// One limit, compiled.
#[derive(Debug)]
pub struct Limit {
    /// Its name, or its number in the document.
    pub name: Arc<str>,
    /// How many.
    pub rate: Rate,
    /// What became of requests.
    pub counts: Arc<Counts>,
    /// `namespace/name/limit`: what it is called everywhere.
    pub id: Arc<str>,
    /// The same with the numbers, for keys.
    pub(super) tag: u64,
    scope: Scope,
    by: Box<[Key]>,
    /// The bucket of a limit without keys.
    pub(super) one: Arc<Bucket>,
}

/// What became of the requests that a limit is about, since the process started.
#[derive(Debug, Default)]
pub struct Counts {
    within: AtomicU64,
    refused: AtomicU64,
    unenforced: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// Requests that had a token.
    pub fn within(&self) -> u64 {
        self.within.load(Ordering::Relaxed)
    }

    /// Requests that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Requests over the limit that passed (`enforcedPercent`).
    pub fn unenforced(&self) -> u64 {
        self.unenforced.load(Ordering::Relaxed)
    }

    /// Requests for which whoever counts did not answer, whatever became of them.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Counts a request with a token.
    pub fn count_within(&self) {
        self.within.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused request.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that passed over the limit.
    pub fn count_unenforced(&self) {
        self.unenforced.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request about which nobody could say anything.
    pub fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Limit {
    pub(super) fn new(
        document: &str,
        number: usize,
        written: &LimitRule,
        regexes: &CompiledRegexes,
    ) -> Self {
        let name = match &written.name {
            Some(name) => name.clone(),
            None => number.to_string(),
        };
        let rate = Rate::new(written.bucket);
        let id = format!("{document}/{name}");
        // The same in every generation; keys are hashed with the process's secret besides.
        let mut tag = DefaultHasher::new();
        (&id, number, rate).hash(&mut tag);
        Self {
            name: name.into(),
            rate,
            counts: Arc::default(),
            id: id.into(),
            tag: tag.finish(),
            scope: Scope::new(&written.scope, regexes),
            by: written
                .by
                .iter()
                .map(|key| Key::new(key, regexes))
                .collect(),
            one: Arc::default(),
        }
    }

    /// Whether all requests share one bucket.
    pub(super) fn is_one(&self) -> bool {
        self.by.iter().all(Key::is_constant)
    }

    /// Whether it is about this request, whatever its keys.
    pub(super) fn matches(&self, facts: &LimitFacts<'_>) -> bool {
        self.scope.matches(facts)
    }

    /// The key of the request's bucket; none if it is not counted.
    pub fn key(&self, facts: &LimitFacts<'_>, hasher: &impl BuildHasher) -> Option<u64> {
        // Never the key of an empty place.
        self.hash(facts, hasher).map(|hash| hash.finish().max(1))
    }

    /// The same for one connection alone.
    pub(super) fn key_of_connection(
        &self,
        facts: &LimitFacts<'_>,
        hasher: &impl BuildHasher,
    ) -> Option<u64> {
        let mut hash = self.hash(facts, hasher)?;
        facts.connection.hash(&mut hash);
        Some(hash.finish().max(1))
    }

    fn hash<H: BuildHasher>(&self, facts: &LimitFacts<'_>, hasher: &H) -> Option<H::Hasher> {
        if !self.matches(facts) {
            return None;
        }
        let mut hash = hasher.build_hasher();
        hash.write_u64(self.tag);
        for key in &self.by {
            let counted = key.value(facts, |value| {
                hash.write_usize(value.len());
                hash.write(value);
            });
            if !counted {
                return None;
            }
        }
        Some(hash)
    }

    /// The request's values one behind the other, each behind its length: the same in every process.
    pub fn values(&self, facts: &LimitFacts<'_>) -> Vec<u8> {
        let mut values = Vec::new();
        for key in &self.by {
            key.value(facts, |value| {
                let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
                values.extend_from_slice(&length.to_be_bytes());
                values.extend_from_slice(value);
            });
        }
        values
    }

    /// Goes on counting where the limit of the generation before stopped.
    pub(super) fn carry(&mut self, previous: &Self) {
        self.counts = Arc::clone(&previous.counts);
        if self.rate == previous.rate {
            self.one = Arc::clone(&previous.one);
        }
    }
}
