//! The store on disk: one sled tree, one flush for all who wait for one.
//!
//! sled returns from a write before it is on disk, so every change waits for a flush that began after
//! it. Those who come during a flush share the next one. A file beside the directory, the mark, remembers
//! which store it was and how much was in it: sled opens a directory whose log was cut off or removed as an empty or
//! shorter one, without a word, and spent tokens would be good again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use prost::Message;
use sled::Batch;

use super::mark::Mark;
use super::record::{Method, Spend};
use super::{
    Admission, Enrolment, Identity, Issued, JoinTokenRecord, Refused, Store, StoreError, Totals,
};
use crate::issue::unix;

/// The version of the layout below.
pub const SCHEMA: u32 = 1;

/// Refusals on record; a stranger can cause them, so they are bounded.
const KEPT_REFUSALS: u64 = 10_000;
/// sled's own default is a gibibyte.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

const META: &[u8] = b"m";
const ISSUED: u8 = b'i';
const EXPIRY: u8 = b'e';
const IDENTITY: u8 = b'n';
const TOKEN: u8 = b't';
const ENROLMENT: u8 = b'k';
const REFUSAL: u8 = b'r';

/// The one record that says what the store is.
#[derive(Clone, PartialEq, Eq, Message)]
struct Meta {
    #[prost(uint32, tag = "1")]
    schema: u32,
    #[prost(bytes = "vec", tag = "2")]
    store_id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    issued: u64,
    #[prost(uint64, tag = "4")]
    refused: u64,
    #[prost(bytes = "vec", tag = "5")]
    bundle_hash: Vec<u8>,
    #[prost(uint64, tag = "6")]
    bundle_sequence: u64,
    /// Changes so far; what the mark compares.
    #[prost(uint64, tag = "7")]
    changes: u64,
}

/// Records in a sled directory.
#[derive(Debug)]
pub struct SledStore {
    db: sled::Db,
    path: PathBuf,
    /// Held while a change is read, decided and applied; never while waiting.
    meta: Mutex<Meta>,
    /// The highest change that is on disk; its lock is held by whoever flushes.
    flushed: tokio::sync::Mutex<u64>,
    marked: AtomicU64,
    poisoned: AtomicBool,
}

impl SledStore {
    /// Opens the store in `path`, or makes it if neither it nor its mark exists.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mark = Mark::read(path)?;
        let existed = path.join("db").exists();
        if mark.is_some() && !existed {
            return Err(damaged(path, "its files are gone"));
        }
        let db = open_guarded(path)?;
        let meta = match (
            db.get(META)
                .map_err(|error| damaged(path, error.to_string()))?,
            mark,
        ) {
            (Some(bytes), mark) => {
                let meta = Meta::decode(&*bytes)
                    .map_err(|_| damaged(path, "its first record can't be read"))?;
                if meta.schema != SCHEMA {
                    return Err(StoreError::Schema {
                        found: meta.schema,
                        expected: SCHEMA,
                    });
                }
                if let Some(mark) = mark {
                    mark.check(&meta.store_id, meta.changes)
                        .map_err(|what| damaged(path, what))?;
                }
                meta
            }
            (None, None) if db.is_empty() => {
                let mut store_id = vec![0; 16];
                aws_lc_rs::rand::fill(&mut store_id)
                    .map_err(|_| io("no random numbers from the operating system"))?;
                let meta = Meta {
                    schema: SCHEMA,
                    store_id,
                    ..Meta::default()
                };
                db.insert(META, meta.encode_to_vec()).map_err(io)?;
                db.flush().map_err(io)?;
                meta
            }
            (None, _) => return Err(damaged(path, "its records are gone")),
        };
        check_every_record(&db, path)?;
        let changes = meta.changes;
        Mark::new(&meta.store_id, changes).write(path)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            meta: Mutex::new(meta),
            flushed: tokio::sync::Mutex::new(changes),
            marked: AtomicU64::new(changes),
            poisoned: AtomicBool::new(false),
        })
    }

    /// Applies what `decide` puts into the batch, all or nothing, and returns when it is on disk.
    async fn change<T>(
        &self,
        decide: impl FnOnce(&sled::Db, &mut Meta, &mut Batch) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        let (outcome, ticket) = {
            let mut meta = self.meta.lock();
            let mut batch = Batch::default();
            let mut next = meta.clone();
            let outcome = decide(&self.db, &mut next, &mut batch)?;
            next.changes += 1;
            batch.insert(META, next.encode_to_vec());
            self.db
                .apply_batch(batch)
                .map_err(|error| self.poison(error))?;
            let ticket = next.changes;
            *meta = next;
            (outcome, ticket)
        };
        self.wait_until_durable(ticket).await?;
        Ok(outcome)
    }

    /// Group commit: whoever gets the lock flushes for everybody who has written by then.
    async fn wait_until_durable(&self, ticket: u64) -> Result<(), StoreError> {
        let mut flushed = self.flushed.lock().await;
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        if *flushed >= ticket {
            return Ok(());
        }
        let reached = self.meta.lock().changes;
        self.db
            .flush_async()
            .await
            .map_err(|error| self.poison(error))?;
        *flushed = reached;
        Ok(())
    }

    /// After a failed write nobody knows what is on disk, and a second attempt may lie (fsync reports an error once).
    fn poison(&self, error: sled::Error) -> StoreError {
        self.poisoned.store(true, Ordering::SeqCst);
        tracing::error!(
            error = %error, path = %self.path.display(),
            "the store can't be written; nothing is signed until a restart has checked it"
        );
        io(error)
    }

    fn read<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, StoreError> {
        self.db
            .get(key)
            .map_err(io)?
            .map(|bytes| decode(&self.path, &bytes))
            .transpose()
    }
}

#[async_trait]
impl Store for SledStore {
    async fn record_issued(
        &self,
        issued: Issued,
        admission: Option<Admission>,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.change(move |db, meta, batch| {
            if let Some(admission) = admission {
                if let Some(hash) = admission.spend {
                    let token = key(TOKEN, &hash);
                    // Forgotten since it was looked at: whether it was spent can't be told any more.
                    let stored = db.get(&token).map_err(io)?.ok_or(StoreError::TokenTaken)?;
                    let mut record: JoinTokenRecord = decode(&path, &stored)?;
                    if record.spend_by(&admission.key_hash) == Spend::SpentByAnother {
                        return Err(StoreError::TokenTaken);
                    }
                    record.spent_by = admission.key_hash.to_vec();
                    record.spent_at = issued.at;
                    batch.insert(token, record.encode_to_vec());
                }
                let enrolment = key(ENROLMENT, &admission.key_hash);
                batch.insert(enrolment, admission.enrolment.encode_to_vec());
            }
            if issued.method() != Method::Edge {
                let name = key(IDENTITY, issued.spiffe_id.as_bytes());
                let previous = db.get(&name).map_err(io)?;
                let previous: Option<Identity> =
                    previous.map(|bytes| decode(&path, &bytes)).transpose()?;
                batch.insert(
                    name,
                    Identity::after(previous.as_ref(), &issued).encode_to_vec(),
                );
            }
            batch.insert(key(ISSUED, &issued.fingerprint), issued.encode_to_vec());
            batch.insert(expiry(issued.not_after, ISSUED, &issued.fingerprint), &[]);
            meta.issued += 1;
            Ok(())
        })
        .await
    }

    async fn record_refused(&self, refused: Refused) -> Result<(), StoreError> {
        self.change(move |_, meta, batch| {
            meta.refused += 1;
            batch.insert(
                key(REFUSAL, &meta.refused.to_be_bytes()),
                refused.encode_to_vec(),
            );
            if let Some(old) = meta.refused.checked_sub(KEPT_REFUSALS) {
                batch.remove(key(REFUSAL, &old.to_be_bytes()));
            }
            Ok(())
        })
        .await
    }

    async fn record_token(&self, hash: [u8; 32], token: JoinTokenRecord) -> Result<(), StoreError> {
        self.change(move |_, _, batch| {
            batch.insert(expiry(token.expires, TOKEN, &hash), &[]);
            batch.insert(key(TOKEN, &hash), token.encode_to_vec());
            Ok(())
        })
        .await
    }

    fn token(&self, hash: &[u8; 32]) -> Result<Option<JoinTokenRecord>, StoreError> {
        self.read(&key(TOKEN, hash))
    }

    fn enrolment(&self, key_hash: &[u8; 32]) -> Result<Option<Enrolment>, StoreError> {
        self.read(&key(ENROLMENT, key_hash))
    }

    fn issued(&self, fingerprint: &[u8; 32]) -> Result<Option<Issued>, StoreError> {
        self.read(&key(ISSUED, fingerprint))
    }

    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        let found = self.db.scan_prefix([IDENTITY]).values();
        found
            .map(|bytes| decode(&self.path, &bytes.map_err(io)?))
            .collect()
    }

    fn refusals(&self, limit: usize) -> Result<Vec<Refused>, StoreError> {
        let found = self.db.scan_prefix([REFUSAL]).values().rev().take(limit);
        found
            .map(|bytes| decode(&self.path, &bytes.map_err(io)?))
            .collect()
    }

    fn totals(&self) -> Totals {
        let meta = self.meta.lock();
        Totals {
            issued: meta.issued,
            refused: meta.refused,
        }
    }

    async fn bundle_sequence(&self, hash: [u8; 32]) -> Result<u64, StoreError> {
        self.change(move |_, meta, _| {
            if meta.bundle_hash != hash {
                meta.bundle_hash = hash.to_vec();
                meta.bundle_sequence += 1;
            }
            Ok(meta.bundle_sequence)
        })
        .await
    }

    async fn forget_expired(&self, before: SystemTime) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        loop {
            // In small steps: the batch excludes every other change while it is applied.
            let end = key(EXPIRY, &unix(before).to_be_bytes());
            let count = self
                .change(move |db, _, batch| {
                    let mut count = 0_u64;
                    for found in db.range(vec![EXPIRY]..end).keys().take(500) {
                        let found = found.map_err(io)?;
                        // expiry key = `e`, eight bytes of time, then the record's own key
                        if let Some(record) = found.get(9..) {
                            batch.remove(record);
                        }
                        batch.remove(found);
                        count += 1;
                    }
                    Ok(count)
                })
                .await?;
            forgotten += count;
            if count < 500 {
                return Ok(forgotten);
            }
        }
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        // Only what is surely on disk may be marked, else a power loss would look like damage.
        let Ok(flushed) = self.flushed.try_lock() else {
            return Ok(());
        };
        let durable = *flushed;
        drop(flushed);
        if durable > self.marked.load(Ordering::SeqCst) {
            let store_id = self.meta.lock().store_id.clone();
            Mark::new(&store_id, durable).write(&self.path)?;
            self.marked.store(durable, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let reached = self.meta.lock().changes;
        self.wait_until_durable(reached).await?;
        self.checkpoint()
    }
}

fn key(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

fn expiry(at: u64, kind: u8, record: &[u8]) -> Vec<u8> {
    let mut rest = at.to_be_bytes().to_vec();
    rest.push(kind);
    rest.extend_from_slice(record);
    key(EXPIRY, &rest)
}

fn io(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Io(error.into())
}

fn damaged(path: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        path: path.display().to_string(),
        what: what.into(),
        mark: Mark::file(path).display().to_string(),
    }
}

fn decode<M: Message + Default>(path: &Path, bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|_| damaged(path, "a record can't be read"))
}

/// sled panics on some damage (sled#1387); on a thread of its own that is an answer like any other.
fn open_guarded(path: &Path) -> Result<sled::Db, StoreError> {
    let directory = path.to_owned();
    let opened = std::thread::spawn(move || {
        sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            // Every change is flushed before it counts; a second flusher would only add wake-ups.
            .flush_every_ms(None)
            .open()
    });
    match opened.join() {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
            Err(StoreError::InUse(path.display().to_string()))
        }
        Ok(Err(sled::Error::Io(error))) => Err(io(error)),
        Ok(Err(error)) => Err(damaged(path, error.to_string())),
        Err(_) => Err(damaged(path, "sled stopped while reading it")),
    }
}

/// Reads everything once at start: damage is found before a decision rests on it.
fn check_every_record(db: &sled::Db, path: &Path) -> Result<(), StoreError> {
    let db = Arc::new(db.clone());
    let directory = path.to_owned();
    let checked = std::thread::spawn(move || {
        for found in db.iter() {
            let (key, value) = found.map_err(|error| damaged(&directory, error.to_string()))?;
            let path = directory.as_path();
            match key.first().copied() {
                Some(ISSUED) => decode::<Issued>(path, &value).map(drop)?,
                Some(IDENTITY) => decode::<Identity>(path, &value).map(drop)?,
                Some(TOKEN) => decode::<JoinTokenRecord>(path, &value).map(drop)?,
                Some(ENROLMENT) => decode::<Enrolment>(path, &value).map(drop)?,
                Some(REFUSAL) => decode::<Refused>(path, &value).map(drop)?,
                Some(EXPIRY | b'm') => {}
                _ => return Err(damaged(path, "it holds a record of an unknown kind")),
            }
        }
        Ok(())
    });
    checked
        .join()
        .unwrap_or_else(|_| Err(damaged(path, "sled stopped while reading it")))
}

#[cfg(test)]
mod tests;
