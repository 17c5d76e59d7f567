//! A store that forgets everything when it is dropped, for tests.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::record::{Method, Spend};
use super::{
    Admission, Enrolment, Identity, Issued, JoinTokenRecord, Refused, Store, StoreError, Totals,
};
use crate::issue::unix;

/// Records in maps.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    broken: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    issued: BTreeMap<Vec<u8>, Issued>,
    identities: BTreeMap<String, Identity>,
    tokens: BTreeMap<[u8; 32], JoinTokenRecord>,
    enrolments: BTreeMap<[u8; 32], Enrolment>,
    refusals: VecDeque<Refused>,
    totals: Totals,
    bundle: Option<([u8; 32], u64)>,
}

impl MemoryStore {
    /// From now on every write fails, like a disk that is full.
    pub fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    fn write(&self) -> Result<parking_lot::MutexGuard<'_, State>, StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        Ok(self.state.lock())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn record_issued(
        &self,
        issued: Issued,
        admission: Option<Admission>,
    ) -> Result<(), StoreError> {
        let mut state = self.write()?;
        if let Some(admission) = admission {
            if let Some(hash) = admission.spend {
                let token = state.tokens.get_mut(&hash).ok_or(StoreError::TokenTaken)?;
                if token.spend_by(&admission.key_hash) == Spend::SpentByAnother {
                    return Err(StoreError::TokenTaken);
                }
                token.spent_by = admission.key_hash.to_vec();
                token.spent_at = issued.at;
            }
            state
                .enrolments
                .insert(admission.key_hash, admission.enrolment);
        }
        if issued.method() != Method::Edge {
            let newest = Identity::after(state.identities.get(&issued.spiffe_id), &issued);
            state.identities.insert(issued.spiffe_id.clone(), newest);
        }
        state.issued.insert(issued.fingerprint.clone(), issued);
        state.totals.issued += 1;
        Ok(())
    }

    async fn record_refused(&self, refused: Refused) -> Result<(), StoreError> {
        let mut state = self.write()?;
        state.refusals.push_front(refused);
        state.refusals.truncate(10_000);
        state.totals.refused += 1;
        Ok(())
    }

    async fn record_token(&self, hash: [u8; 32], token: JoinTokenRecord) -> Result<(), StoreError> {
        self.write()?.tokens.insert(hash, token);
        Ok(())
    }

    fn token(&self, hash: &[u8; 32]) -> Result<Option<JoinTokenRecord>, StoreError> {
        Ok(self.state.lock().tokens.get(hash).cloned())
    }

    fn enrolment(&self, key_hash: &[u8; 32]) -> Result<Option<Enrolment>, StoreError> {
        Ok(self.state.lock().enrolments.get(key_hash).cloned())
    }

    fn issued(&self, fingerprint: &[u8; 32]) -> Result<Option<Issued>, StoreError> {
        Ok(self
            .state
            .lock()
            .issued
            .get(fingerprint.as_slice())
            .cloned())
    }

    fn identities(&self) -> Result<Vec<Identity>, StoreError> {
        Ok(self.state.lock().identities.values().cloned().collect())
    }

    fn refusals(&self, limit: usize) -> Result<Vec<Refused>, StoreError> {
        Ok(self
            .state
            .lock()
            .refusals
            .iter()
            .take(limit)
            .cloned()
            .collect())
    }

    fn totals(&self) -> Totals {
        self.state.lock().totals
    }

    async fn bundle_sequence(&self, hash: [u8; 32]) -> Result<u64, StoreError> {
        let mut state = self.write()?;
        let next = match state.bundle {
            Some((last, sequence)) if last == hash => sequence,
            Some((_, sequence)) => sequence + 1,
            None => 1,
        };
        state.bundle = Some((hash, next));
        Ok(next)
    }

    async fn forget_expired(&self, before: SystemTime) -> Result<u64, StoreError> {
        let before = unix(before);
        let mut state = self.write()?;
        let count = state.issued.len() + state.tokens.len();
        state.issued.retain(|_, issued| issued.not_after >= before);
        state.tokens.retain(|_, token| token.expires >= before);
        let kept = state.issued.len() + state.tokens.len();
        Ok(u64::try_from(count - kept).unwrap_or(0))
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
