//! Readiness: named conditions that must all hold before a process takes traffic.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// The set of conditions of one process. Cheap to clone; all clones are one set.
#[derive(Clone, Debug)]
pub struct Readiness {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None` holds, `Some(reason)` does not.
    conditions: Mutex<BTreeMap<String, Option<String>>>,
    ready: watch::Sender<bool>,
}

/// One thing that is still missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The name of the condition.
    pub condition: String,
    /// Why it does not hold, for a person to read.
    pub reason: String,
}

/// The state at one moment, as `/healthz/ready` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessReport {
    /// Whether every condition holds.
    pub ready: bool,
    /// What is missing; empty when ready.
    pub waiting_for: Vec<Waiting>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Makes a set without conditions, which counts as ready.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                conditions: Mutex::new(BTreeMap::new()),
                ready: watch::Sender::new(true),
            }),
        }
    }

    /// Adds a condition; it does not hold until its handle says so.
    pub fn condition(&self, name: &str) -> ConditionHandle {
        let handle = ConditionHandle {
            name: name.to_owned(),
            readiness: self.clone(),
        };
        handle.set_not_ready("not started yet");
        handle
    }

    /// Whether every condition holds now.
    pub fn is_ready(&self) -> bool {
        *self.inner.ready.borrow()
    }

    /// Follows [`Self::is_ready`].
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.inner.ready.subscribe()
    }

    /// Says what is missing now.
    pub fn report(&self) -> ReadinessReport {
        let waiting_for: Vec<Waiting> = self
            .inner
            .conditions
            .lock()
            .iter()
            .filter_map(|(condition, missing)| {
                missing.as_ref().map(|reason| Waiting {
                    condition: condition.clone(),
                    reason: reason.clone(),
                })
            })
            .collect();
        ReadinessReport {
            ready: waiting_for.is_empty(),
            waiting_for,
        }
    }

    fn set(&self, name: &str, missing: Option<String>) {
        let mut conditions = self.inner.conditions.lock();
        conditions.insert(name.to_owned(), missing);
        let ready = conditions.values().all(Option::is_none);
        // Sent under the lock, so that two writers cannot announce in the wrong order.
        self.inner
            .ready
            .send_if_modified(|current| std::mem::replace(current, ready) != ready);
    }
}

/// The right to say whether one condition holds.
#[derive(Clone, Debug)]
pub struct ConditionHandle {
    name: String,
    readiness: Readiness,
}

impl ConditionHandle {
    /// The condition holds.
    pub fn set_ready(&self) {
        self.readiness.set(&self.name, None);
    }

    /// The condition does not hold, because of `reason`.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(&self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let identity = readiness.condition("identity");
        let policy = readiness.condition("policy");
        identity.set_ready();
        assert!(!readiness.is_ready());
        policy.set_not_ready("2 errors in the documents");
        assert_eq!(
            readiness.report().waiting_for,
            [Waiting {
                condition: "policy".into(),
                reason: "2 errors in the documents".into()
            }]
        );
        policy.set_ready();
        assert!(readiness.is_ready());
        assert!(readiness.report().ready);
        identity.set_not_ready("the certificate expired");
        assert!(!readiness.is_ready());
    }

    #[tokio::test]
    async fn a_change_is_announced_once() {
        let readiness = Readiness::new();
        let identity = readiness.condition("identity");
        let mut changes = readiness.subscribe();
        identity.set_not_ready("still waiting");
        assert!(!changes.has_changed().unwrap());
        identity.set_ready();
        changes.changed().await.unwrap();
        assert!(*changes.borrow_and_update());
    }
}
